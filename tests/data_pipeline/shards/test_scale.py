"""What is stored is fine enough, and what is no signal does not set the scale."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.modalities import Modality
from data_pipeline.night import Channel, Quality
from data_pipeline.shards.epochs import night_epochs
from data_pipeline.shards.records import decode_epoch, encode_epoch
from data_pipeline.shards.scale import INT16_MAX, channel_scale
from tests.support.nights import random_night


def roundtrip(night):
    return [decode_epoch(encode_epoch(epoch)) for epoch in night_epochs(night)]


def channel_of(samples, quality=None):
    quality = np.zeros(len(samples) // 128, np.uint8) if quality is None else quality
    return Channel("C3", Modality.EEG, np.asarray(samples, np.float32), quality, "C3", "", 128.0)


def test_the_step_is_small_against_the_signal_even_with_a_huge_artefact():
    samples = np.random.default_rng(0).standard_normal(128 * 120) * 20
    samples[5000] = 1e6
    scale = channel_scale(channel_of(samples))
    assert scale.scale < 0.02 and scale.clipped_samples == 1
    assert scale.median == pytest.approx(0, abs=1) and scale.iqr == pytest.approx(27, abs=1)
    assert channel_scale(channel_of(np.delete(samples, 5000).repeat(1)[: 128 * 119])).clipped_samples == 0


def test_one_desaturation_in_a_steady_night_is_stored():
    samples = np.resize(np.float32([96, 97]), 3 * 3600)
    samples[5555:5570] = 81.5  # where the survey does not look
    night = random_night(1, 360, ["SPO2"], tail_s=0, scored=False)
    night = replace(night, channels=(replace(night.channels[0], samples=samples),))
    stored = np.concatenate([epoch.signals[0].physical()[0] for epoch in roundtrip(night)])
    np.testing.assert_allclose(stored, samples, atol=0.002)


def test_gaps_are_zero_and_flagged_and_do_not_touch_the_scale():
    night = random_night(2, 2, ["C3"])
    samples, quality = night.channels[0].samples.copy(), np.zeros_like(night.channels[0].quality)
    plain = channel_scale(replace(night.channels[0], quality=np.where(np.arange(len(quality)) == 3, 1, 0)))
    samples[3 * 128 + 5 : 4 * 128] = np.nan
    channel = replace(night.channels[0], samples=samples, quality=quality)
    assert channel_scale(channel) == plain
    first = roundtrip(replace(night, channels=(channel,)))[0].signals[0]
    assert first.quality[0, 3] == Quality.GAP and first.quality[0].sum() == Quality.GAP
    assert not first.samples[0, 3 * 128 + 5 : 4 * 128].any() and first.samples[0, 3 * 128 : 3 * 128 + 5].any()


def test_a_channel_without_any_sample_or_movement_is_stored():
    dead = channel_scale(channel_of(np.full(128 * 60, np.nan)))
    assert dead.median is None and (dead.scale, dead.offset) == (1.0, 0.0)
    flat = channel_scale(channel_of(np.full(128 * 60, 7.5)))
    assert flat.iqr == 0 and flat.offset == 7.5 and flat.clipped_samples == 0


def test_the_range_reaches_eight_times_as_far_as_the_signal():
    samples = np.random.default_rng(0).uniform(-100, 100, 128 * 600)  # its middle 99.9 % is +-99.9
    assert channel_scale(channel_of(samples)).scale * INT16_MAX == pytest.approx(8 * 99.9, rel=0.005)
