"""From a sleep laboratory's files to shards a model can stream. Needs numpy, scipy, mne and edfio; never JAX."""
