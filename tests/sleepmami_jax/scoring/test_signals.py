"""Signals in the page: what comes out of its 8 bits, and what is left out first."""

import zlib
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.load import in_memory, open_night
from data_pipeline.modalities import Modality
from sleepmami_jax.scoring.signals import SHOWN_BLOCK_S, UNUSABLE, fitted, read_signals
from tests.support.nights import random_night
from tests.support.recordings import write_edf


def samples(one) -> np.ndarray:
    """As the page unpacks them."""
    parts = [zlib.decompress(b64decode(block), wbits=-15) for block in one.blocks]
    return np.concatenate([np.cumsum(np.frombuffer(part, np.int8), dtype=np.int8) for part in parts])


@pytest.fixture
def night():
    return random_night(3, n_epochs=44)  # more than two blocks of a reading


@pytest.mark.parametrize("slot", ["C3", "E1", "CHIN", "THORAX", "SPO2"])
def test_what_was_recorded_comes_back_within_a_step(night, slot):
    shown = next(one for one in read_signals(night).shown if one.slot == slot)
    channel = next(c for c in night.channels if c.slot == slot)
    every = channel.rate_hz // shown.rate_hz
    slower = channel.samples.reshape(-1, every)
    slower = slower[:, 0] if channel.modality is Modality.EMG else slower.mean(axis=1)
    got, bad = samples(shown), np.repeat(channel.quality != 0, shown.rate_hz)
    assert len(got) == night.duration_s * shown.rate_hz and len(shown.blocks) == -(-night.duration_s // SHOWN_BLOCK_S)
    assert (got[bad] == UNUSABLE).all() and (got[~bad] != UNUSABLE).all()
    assert np.abs(shown.offset + shown.step * got[~bad] - slower[~bad]).max() <= shown.step / 2 + 1e-4
    assert shown.step < (0.3 if slot == "SPO2" else shown.reach / 30)


def test_a_night_that_is_still_in_its_file_is_read_as_one_in_memory(tmp_path):
    labels = {"Chin EMG": (200, "uV"), "ECG": (128, "uV"), "Thorax": (32, ""), "SpO2": (1, "%")}
    in_file = open_night(write_edf(tmp_path / "n.edf", labels, seconds=900))
    found, expected = read_signals(in_file), read_signals(in_memory(in_file))
    assert found.shown == expected.shown and len(found.shown) == len(labels)
    for rate in ("breaths_per_min", "beats_per_min"):
        np.testing.assert_array_equal(getattr(found, rate), getattr(expected, rate))


def test_what_decided_stays_when_the_page_would_grow_too_large(night):
    shown = read_signals(night).shown
    whole = sum(len(block) for one in shown for block in one.blocks)
    assert fitted(shown, {}, most=whole) == []
    told = fitted(shown, {"O2": [(130.0, 150.0)]}, most=whole // 3)
    kept = {one.slot: [block is not None for block in one.blocks] for one in shown}
    assert sum(len(block) for one in shown for block in one.blocks if block) <= whole // 3
    assert kept["O2"][:2] == [True, True] and not any(kept["O2"][2:])  # 30 s before it lie in the first
    assert all(kept["F3"]) and not any(kept["C3"])  # of each modality its first channel
    assert "C3: 100 % of the night" in told and not any(words.startswith("F3") for words in told)


def test_waves_that_were_let_go_are_not_shown_as_flat_ones(night):
    waveless = tuple(
        replace(c, samples=c.samples if c.slot == "SPO2" else np.full_like(c.samples, np.nan)) for c in night.channels
    )
    signals = read_signals(replace(night, channels=waveless))
    assert [one.slot for one in signals.shown] == ["SPO2"]
    assert np.isnan(signals.breaths_per_min).all() and np.isnan(signals.beats_per_min).all()


def test_a_night_without_breath_or_heart_has_no_rates():
    signals = read_signals(random_night(0, n_epochs=4, slots=("C3",)))
    assert np.isnan(signals.breaths_per_min).all() and np.isnan(signals.beats_per_min).all()
    assert [one.slot for one in signals.shown] == ["C3"]
