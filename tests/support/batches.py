"""What the tests of the loader ask of batches and of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S, Night
from data_pipeline.tasks import Task
from sleepmami_jax.config import DataConfig, DataSource
from sleepmami_jax.data.arrays import Slots, blank_arrays, demographics_arrays, night_signals
from sleepmami_jax.data.labels import event_labels
from sleepmami_jax.data.stored import normalised

SMALL = {Modality.EEG: ("C3", "C4"), Modality.SPO2: ("SPO2",)}
"""A few channels, for tests that are not about signals."""


def data_of(*folders, **options) -> DataConfig:
    return DataConfig(tuple(DataSource(str(folder)) for folder in folders), **options)


def places(batch) -> list[tuple[int, int]]:
    """(night, epoch) of each row."""
    return list(zip(batch["night"].tolist(), batch["epoch"].tolist(), strict=True))


def take(iterator, n: int) -> list[dict]:
    """The next n batches as a model gets them, the last ones: the iterator is closed."""
    batches = [received(next(iterator)) for _ in range(n)]
    iterator.close()
    return batches


def received(batch: dict) -> dict:
    """A batch on its way as a model gets it."""
    return normalised(batch, np)


def assert_same(a, b, exact=True):
    """Two dictionaries of arrays are equal; `exact=False` allows for the rounding to int16."""
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            assert_same(a[key], b[key], exact)
        else:
            assert a[key].shape == b[key].shape and a[key].dtype == b[key].dtype, key
            np.testing.assert_allclose(a[key], b[key], atol=0 if exact else 2e-3, rtol=0, err_msg=str(key))


def night_arrays(
    night: Night,
    slots: Slots = SLOTS,
    *,
    length: int | None = None,
    tasks: Sequence[Task] = (),
) -> dict:
    """A whole night in memory as `PreparedFolder.arrays` gives it from its shard, but for the rounding to int16."""
    n_epochs = night.n_epochs
    length = n_epochs if length is None else length
    arrays = blank_arrays(length, slots, tasks) | next(night_signals(night, slots, length))
    arrays["epoch_mask"][:n_epochs] = True
    if night.scoring is not None:
        arrays["stage"][:n_epochs] = night.scoring.stages
        labels = event_labels(night.scoring.events, night.scoring.scored, tasks, 0.0, n_epochs * EPOCH_S)
        for task, seconds in labels.items():
            arrays["seconds"][task][:n_epochs] = seconds.reshape(n_epochs, -1)
    arrays["demographics"] = demographics_arrays(night.demographics)
    return arrays
