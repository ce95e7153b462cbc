"""Synthetic nights with known truth, written as real EDF+ files of two different laboratories.

A person is drawn first (`person`), then the stages of a night (`hypnogram`), what happens in it
(`events`, `waves`), what goes wrong (`artefacts`), the signals (`eeg`, `breathing`, `body`), and how
a laboratory records them (`sites`, `recording`, `write`). `cohort` makes many.
Made nights teach and test a pipeline; they are no evidence about people.
"""

from data_pipeline.simulate.cohort import simulate_cohort

__all__ = ["simulate_cohort"]
