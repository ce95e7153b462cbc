"""A prepared night as a `Night`: its samples in their units again, with its scoring."""

from __future__ import annotations

import numpy as np

from data_pipeline.night import EPOCH_S, Channel, Night, Scoring
from sleepmami_jax.data.source import PreparedFolder


def night_of(prepared: PreparedFolder, night: int) -> Night:
    """A night of a prepared folder, whole and in memory; a tail shorter than an epoch was never stored.

    Raises:
      ValueError: the shard is missing or damaged; it is named.
    """
    entry = prepared.manifest.nights[night]
    epochs = prepared.epochs(night, 0, entry.n_epochs)
    source_rate_hz = {channel.slot: channel.source_rate_hz for channel in entry.channels}
    channels = []
    for packed in zip(*(epoch.signals for epoch in epochs), strict=True):
        samples = np.concatenate([part.physical() for part in packed], axis=1)
        quality = np.concatenate([part.quality for part in packed], axis=1)
        channels += [
            Channel(slot, packed[0].modality, samples[row], quality[row], slot, "prepared", source_rate_hz[slot])
            for row, slot in enumerate(packed[0].slots)
            if slot in source_rate_hz
        ]
    stages = np.array([epoch.stage for epoch in epochs], np.int8)
    return Night(
        night_id=entry.night_id,
        subject_id=entry.subject_id,
        site=entry.site,
        duration_s=len(stages) * EPOCH_S,
        channels=tuple(channels),
        scoring=Scoring(stages, prepared.events(night), frozenset(entry.scored)),
        demographics=entry.demographics,
    )
