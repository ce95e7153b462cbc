"""What the tests of the loader ask of batches and of arrays."""

from __future__ import annotations

import numpy as np

from data_pipeline.night import Modality
from sleepmami_jax.config import DataConfig, DataSource

SMALL = {Modality.EEG: ("C3", "C4"), Modality.SPO2: ("SPO2",)}
"""A few channels, for tests that are not about signals."""


def data_of(*folders, **options) -> DataConfig:
    return DataConfig(tuple(DataSource(str(folder)) for folder in folders), **options)


def places(batch) -> list[tuple[int, int]]:
    """(night, epoch) of each row."""
    return list(zip(batch["night"].tolist(), batch["epoch"].tolist(), strict=True))


def take(iterator, n: int) -> list[dict]:
    """The next n batches, the last ones: the iterator is closed."""
    batches = [next(iterator) for _ in range(n)]
    iterator.close()
    return batches


def assert_same(a, b, exact=True):
    """Two dictionaries of arrays are equal; `exact=False` allows for the rounding to int16."""
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            assert_same(a[key], b[key], exact)
        else:
            assert a[key].shape == b[key].shape and a[key].dtype == b[key].dtype, key
            np.testing.assert_allclose(a[key], b[key], atol=0 if exact else 2e-3, rtol=0, err_msg=str(key))
