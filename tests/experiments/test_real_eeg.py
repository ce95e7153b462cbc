"""Spindle agreement, the probes of the real-EEG experiment, and its recordings where they are to be had."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Channel, Event, EventKind, Night
from experiments.real_nights import (
    EegNight,
    prepare_real,
    read_dreams,
    read_simulated,
    read_stages,
    read_ucddb,
)
from experiments.real_probes import (
    band_seconds,
    find_spindles,
    probe_blocks,
    standardised,
    token_seconds,
    with_neighbours,
)
from experiments.spindles import spindle_metrics, spindle_seconds, spindles_above
from sleepmami_jax.config import ModalityConfig
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.micro import token_width
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.pretrained import Pretrained
from tests.conftest import shallow_config

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")


def spindle(onset_s: float, duration_s: float) -> Event:
    return Event(EventKind.SPINDLE, onset_s, duration_s)


def most_pairs(a: list[float], b: list[float], nearer_than: float) -> int:
    """By trying all: how many centres can be paired one to one."""
    short, long = sorted((a, b), key=len)
    for n in range(len(short), 0, -1):
        for chosen in combinations(short, n):
            for others in permutations(long, n):
                if all(abs(x - y) < nearer_than for x, y in zip(chosen, others, strict=True)):
                    return n
    return 0


@pytest.mark.parametrize("seed", range(8))
def test_spindles_are_paired_by_centre_whatever_their_lengths(seed):
    rng = np.random.default_rng(seed)
    sides = [[spindle(*x) for x in rng.uniform((0, 0.2), (6, 3), (n, 2))] for n in rng.integers(1, 6, 2)]
    kept = [[c for e in side if (c := e.onset_s + e.duration_s / 2) < 5] for side in sides]
    n = most_pairs(*kept, nearer_than=1.0)
    found = spindle_metrics(*([side] for side in sides), scored_s=[5.0])
    assert (found["n_reference"], found["n_predicted"], found["n_matched"]) == (*map(len, kept), n)
    assert found["f1"] == pytest.approx(2 * n / (len(kept[0]) + len(kept[1])))


def test_what_the_first_expert_never_looked_at_is_neither_hit_nor_miss():
    marks, found = [spindle(999.4, 1.0)], [spindle(999, 1), spindle(1000, 1), spindle(1500, 1)]
    assert spindle_metrics([marks], [found], [1000.0])["precision"] == 1.0
    assert spindle_metrics([marks], [found], [1800.0])["precision"] == pytest.approx(1 / 3)


def test_seconds_of_spindles_and_spindles_of_seconds():
    seconds = spindle_seconds([spindle(2.75, 1.5), spindle(6.6, 0.6), spindle(9.1, 0.5)], 10)
    assert np.flatnonzero(seconds).tolist() == [3, 6, 9]
    assert [(e.onset_s, e.duration_s) for e in spindles_above(np.array([0.5, 0.4, 0.6, 0.9, 0, 0.5]), 0.5)] == [
        (0, 1),
        (2, 2),
        (5, 1),
    ]


def night_with_spindles(seed: int, seconds: int = 300) -> EegNight:
    """Noise with bursts of 13 Hz at known places."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 10, seconds * 128).astype(np.float32)
    marks = [spindle(float(onset), 1.0) for onset in np.arange(8, seconds - 8, 12) + rng.uniform(-3, 3)]
    for e in marks:
        first = int(e.onset_s * 128)
        samples[first : first + 128] += 25 * np.sin(2 * np.pi * 13 * np.arange(128) / 128)
    channel = Channel("C3", Modality.EEG, samples, np.zeros(seconds, np.uint8), "C3", "made", 128.0)
    night = Night(f"made-{seed}", f"made-{seed}", "", seconds, (channel,))
    return EegNight(night.night_id, night, np.zeros(seconds // EPOCH_S, np.int8), {"expert": marks})


def test_a_detector_finds_planted_spindles_without_the_labels_of_the_recording_it_is_tried_on():
    nights = [night_with_spindles(seed) for seed in range(4)]
    features = [with_neighbours(band_seconds(n)) for n in nights]
    marks = [n.spindles["expert"] for n in nights]
    found = find_spindles(features, marks, 300.0)
    assert spindle_metrics(marks, found, [300.0] * 4)["f1"] > 0.9
    wrong = [[spindle(e.onset_s + 6, 1.0) for e in marks[0]], *marks[1:]]
    again = find_spindles(features, wrong, 300.0)
    assert again[0] == found[0] and again[1:] != found[1:]


def test_a_block_of_the_night_is_staged_without_its_own_labels():
    rng = np.random.default_rng(0)
    stages = np.repeat(np.array([0, 2, 3, 2, 4, 2, 0, 2, 3, 4], np.int8), 10)
    features = np.eye(5)[stages] * 3 + rng.normal(0, 1, (100, 5))
    predicted = probe_blocks(features, stages)
    assert (predicted == stages).mean() > 0.9
    changed = np.concatenate([np.full(20, 1, np.int8), stages[20:]])
    again = probe_blocks(features, changed)
    assert (again[:20] == predicted[:20]).all() and (again[20:] != predicted[20:]).any()


def test_an_epoch_of_two_stages_has_none(tmp_path):
    rows = ["onset_s,duration_s,stage"]
    rows += [f"{s},5,{'W' if s < 20 else 'N2' if s < 80 else 'N3'}" for s in range(0, 120, 5)]
    (tmp_path / "h.csv").write_text("\n".join(rows))
    assert read_stages(tmp_path / "h.csv", 4).tolist() == [UNKNOWN_STAGE, 2, UNKNOWN_STAGE, 3]


@needs_real
def test_the_recordings_and_their_experts_are_as_described():
    dreams, ucddb = read_dreams(Path(REAL)), read_ucddb(Path(REAL))
    assert [[len(marks) for marks in r.spindles.values()] for r in dreams] == [
        [52, 115],
        [60, 52],
        [5, 44],
        [44, 25],
    ]
    assert all(e.end_s < 1010 for r in dreams for e in r.spindles["expert 1"])
    assert [len(r.night.channels) for r in (*dreams, ucddb)] == [1] * 5
    minutes = np.bincount(ucddb.stages, minlength=len(STAGES)) / 2
    assert minutes.tolist() == [164, 29, 140, 68.5, 9.5]
    assert [int((r.stages == UNKNOWN_STAGE).sum()) for r in dreams] == [17, 12, 27, 14]


@needs_real
def test_one_eeg_channel_gives_the_same_tokens_from_shards_and_from_the_file(tmp_path):
    shallow = shallow_config()
    config = replace(shallow, modalities=replace(shallow.modalities, EEG=ModalityConfig(("C3", "C4"), token_s=1)))
    reader = Pretrained(ModelFolder(config, create(config, 0)[1]))
    folders = prepare_real(Path(REAL), tmp_path)
    prepared = PreparedFolder.open(folders["dreams"])
    at = [n.night_id for n in prepared.manifest.nights].index("excerpt2")
    arrays = prepared.arrays(at, reader.slots, stop=32)
    stored, ok = reader.encode({m.value: arrays[m.value] for m in SLOTS})
    excerpt = read_dreams(Path(REAL))[1]
    in_memory, _ = reader.tokens(excerpt.night)
    assert ok[:, :30].any() and not ok[:, 30:].any()
    assert np.abs(stored - in_memory[:32]).max() < 0.02
    seconds = token_seconds(reader, excerpt)
    assert seconds.shape == (1800, token_width(config)) and np.isfinite(seconds).all()
    own = standardised(in_memory[:, :30].reshape(1800, -1), np.repeat(True, 1800))
    assert np.corrcoef(seconds.ravel(), own.ravel())[0, 1] > 0.99  # one second is masked
    (again,), whole = read_simulated(folders["ucddb018"], "C4"), read_ucddb(Path(REAL))
    assert np.abs(again.eeg - whole.eeg).max() < 2e-3 * np.std(whole.eeg)
    assert (again.night.channels[0].quality == whole.night.channels[0].quality).all()
