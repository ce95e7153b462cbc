"""A night comes back from its shard as it was prepared."""

import numpy as np
import pytest

from data_pipeline.shards.manifest import channel_entry
from data_pipeline.shards.scale import channel_scale
from sleepmami_jax.data.nights import night_of
from sleepmami_jax.data.source import PreparedFolder


@pytest.fixture(scope="module")
def prepared(shards):
    return PreparedFolder.open(shards)


def test_samples_are_those_of_the_records_in_their_units(prepared):
    entry, night = prepared.manifest.nights[0], night_of(prepared, 0)
    assert [c.slot for c in night.channels] == [c.slot for c in entry.channels]
    assert night.night_id == entry.night_id and night.n_epochs == entry.n_epochs
    third = prepared.epochs(0, 2, 3)[0]
    for packed in third.signals:
        for slot, samples, quality in zip(packed.slots, packed.physical(), packed.quality, strict=True):
            (channel,) = [c for c in night.channels if c.slot == slot]
            np.testing.assert_array_equal(channel.read(60, 90).samples, samples)
            np.testing.assert_array_equal(channel.read(60, 90).quality, quality)


def test_the_scoring_comes_with_it(prepared):
    entry, night = prepared.manifest.nights[0], night_of(prepared, 0)
    np.testing.assert_array_equal(night.scoring.stages, entry.stage_codes)
    assert night.scoring.events == prepared.events(0) and night.scoring.scored == frozenset(entry.scored)


def test_its_scale_is_that_of_the_manifest(prepared):
    for channel, entry in zip(night_of(prepared, 0).channels, prepared.manifest.nights[0].channels, strict=True):
        again = channel_entry(channel, channel_scale(channel))
        if entry.iqr:
            assert again.iqr == pytest.approx(entry.iqr, rel=0.02) and again.usable_epochs == entry.usable_epochs


def test_only_the_channels_asked_for(prepared):
    slots = [c.slot for c in prepared.manifest.nights[0].channels][:1]
    assert [c.slot for c in night_of(prepared.with_channels(slots), 0).channels] == slots
