"""Samples: from as recorded to canonical rate and band, and what of them is usable, second by second."""
