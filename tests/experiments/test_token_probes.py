"""Probes against tokens in which something was planted, and against noise."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.night import EPOCH_S, Demographics, Event, EventKind
from data_pipeline.prepare.run import prepare
from experiments.night_probes import Facts, night_probe
from experiments.token_probes import EVENTS, TokenNight, event_seconds, token_nights, token_probe
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.pretrained import Pretrained
from tests.conftest import random_model, shallow_config, tiny_config
from tests.support.nights import load_random_night, write_recordings

MODALITIES = tiny_config().modalities
COUNTS = [EPOCH_S // MODALITIES[m].token_s for m in SLOTS]
DIM = 4
SPINDLE = next(task for task in EVENTS if task.name == "spindle")
SCORED = frozenset({"stages", "hypopnea", "apnea", "arousal", "spindle"})


@dataclass(frozen=True)
class Kept:
    """Stands for one embedded night."""

    prepared: SimpleNamespace
    x: np.ndarray
    ok: np.ndarray

    def tokens(self, night):
        return self.x, self.ok


def token_night(subject, stages, events, x, ok=None, scored=SCORED) -> TokenNight:
    entry = SimpleNamespace(
        subject_id=subject,
        scored=scored,
        stage_codes=np.asarray(stages, np.int8),
        n_epochs=len(stages),
        demographics=Demographics(50.0, "F", 25.0),
    )
    prepared = SimpleNamespace(manifest=SimpleNamespace(nights=[entry]), events=lambda night: tuple(events))
    ok = np.ones(x.shape[:2], bool) if ok is None else ok
    return TokenNight(Kept(prepared, x.astype(np.float16), ok), 0, MODALITIES)


def planted(seed: int, size: float) -> TokenNight:
    """A night whose EEG tokens know its stages and, second by second, its spindles and arousals; breathing nowhere."""
    rng = np.random.default_rng(seed)
    n = 30
    stages = rng.integers(0, 5, n)
    events = [
        Event(kind, float(onset_s), duration_s)
        for kind, duration_s, every in (
            (EventKind.SPINDLE, 1.0, 40),
            (EventKind.AROUSAL, 5.0, 90),
            (EventKind.HYPOPNEA, 15.0, 120),
        )
        for onset_s in rng.choice(n * EPOCH_S // every, n * EPOCH_S // every // 2, replace=False) * every
    ]
    x = rng.standard_normal((n, sum(COUNTS), DIM))
    eeg = x[:, : COUNTS[0]]
    eeg[..., 0] += size * (stages[:, None] == 2)
    eeg[..., 1] += size * (stages[:, None] == 4)
    for axis, kind in ((2, EventKind.SPINDLE), (3, EventKind.AROUSAL)):
        for event in events:
            if event.kind is kind:
                first, last = (int(s) // MODALITIES.EEG.token_s for s in (event.onset_s, event.end_s - 0.1))
                for token in range(first, last + 1):
                    eeg[token // COUNTS[0], token % COUNTS[0], axis] += size
    return token_night(f"s{seed // 2}", stages, events, x)


def test_probes_find_what_was_planted_and_nothing_else():
    train, test = [planted(i, 3.0) for i in range(8)], [planted(i, 3.0) for i in range(20, 24)]
    found = token_probe(train, test)
    # Two of five stages can be known, the others by luck.
    assert found["stages_macro_f1"] > 0.4 and 0.35 < found["stages_kappa"] < 0.7
    assert found["stages_macro_f1_majority"] < 0.1
    assert found["arousal_auroc"] > 0.9 and found["spindle_auroc"] > 0.9
    assert found["arousal_ap"] > 8 * found["arousal_prevalence"]
    assert found["spindle_prevalence"] == pytest.approx(11 / 900, abs=1e-3)
    assert 0.35 < found["breathing_auroc"] < 0.65
    assert not any(name.startswith("k_complex") for name in found)  # nobody looked for them
    assert token_probe(train, test) == found


def test_probes_of_noise_find_nothing():
    found = token_probe([planted(i, 0.0) for i in range(6)], [planted(i, 0.0) for i in range(20, 23)])
    assert abs(found["stages_kappa"]) < 0.15 and 0.35 < found["spindle_auroc"] < 0.65
    assert found["breathing_ap"] < 2 * found["breathing_prevalence"]


def test_probes_without_enough_people_say_none():
    night = planted(0, 1.0)
    found = token_probe([night, night], [planted(20, 1.0)])
    assert found["stages_kappa"] is found["spindle_ap"] is None and found["spindle_prevalence"] > 0
    unscored = token_night("a", [0, 0], [], np.zeros((2, sum(COUNTS), DIM)), scored=frozenset())
    assert token_probe([night], [unscored]) == {}


def test_features_are_of_the_tokens_that_cover_the_second():
    x = np.arange(2 * sum(COUNTS), dtype=float).reshape(2, -1, 1) * np.ones(DIM)
    ok = np.ones((2, sum(COUNTS)), bool)
    ok[1, : COUNTS[0]] = False  # no EEG in the second epoch
    ok[0, 0] = False
    night = token_night("a", [0, 2], [], x, ok)
    starts = np.cumsum([0, *COUNTS[:-1]])
    features = night.second_features(np.array([0, 29, 30 + 11]))
    assert features.shape == (3, len(SLOTS) * DIM + len(SLOTS))
    values, flags = np.split(features, [len(SLOTS) * DIM], axis=1)
    for row, (epoch, second) in enumerate([(0, 0), (0, 29), (1, 11)]):
        for i, m in enumerate(SLOTS):
            place = starts[i] + second // MODALITIES[m].token_s
            there = ok[epoch, place]
            assert flags[row, i] == there
            assert (values[row, i * DIM : (i + 1) * DIM] == (x[epoch, place, 0] if there else 0)).all()
    epochs = night.epoch_features()
    assert epochs[0, 0] == x[0, 1 : COUNTS[0], 0].mean() and epochs[1, 0] == 0
    assert epochs[:, len(SLOTS) * DIM].tolist() == [1, 0]
    statistics = night.statistics().reshape(len(SLOTS), 2, DIM)
    np.testing.assert_allclose(statistics[0, :, 0], [x[0, 1 : COUNTS[0], 0].mean(), x[0, 1 : COUNTS[0], 0].std()])


def test_seconds_of_events():
    events = [
        Event(EventKind.SPINDLE, 10.3, 0.6),  # the middle of second 10
        Event(EventKind.SPINDLE, 20.7, 0.5),  # of neither second; its own middle is in 20
        Event(EventKind.SPINDLE, 40.4, 1.4),
        Event(EventKind.SPINDLE, 59.9, 3.0),  # goes on after the last epoch
    ]
    night = token_night("a", [2, 2], events, np.zeros((2, sum(COUNTS), DIM)))
    assert np.flatnonzero(event_seconds(night, SPINDLE)).tolist() == [10, 20, 40, 41]


def people(n: int, first: int = 0) -> tuple[np.ndarray, list[Facts]]:
    """Vectors that know the AHI, which goes with BMI a little; some facts are unknown."""
    rng = np.random.default_rng(first)
    bmi = rng.uniform(20, 40, n)
    ahi = np.maximum(0, 15 + 2 * (bmi - 30) + rng.normal(0, 12, n))
    facts = [
        Facts(
            f"s{first + i}",
            Demographics(None if i % 7 == 0 else 40.0 + i % 30, "FM"[i % 2], None if i % 9 == 0 else float(bmi[i])),
            None if i % 11 == 0 else float(ahi[i]),
        )
        for i in range(n)
    ]
    vectors = rng.standard_normal((n, 8))
    vectors[:, 0] += 0.3 * ahi
    vectors[::11, 0] = 50  # says "very ill" where nobody looked
    return vectors, facts


def test_apnea_from_vectors_beside_demographics():
    (x, train), (x_test, test) = people(60), people(60, 100)
    found = night_probe(x, train, x_test, test)
    assert 0.6 < found["apnea_auroc_demographics"] < 0.9 < found["apnea_auroc"]
    assert 0.3 < found["sex_auroc"] < 0.7 and found["age_mae"] == pytest.approx(found["age_mae_median"], rel=0.2)


def test_no_apnea_is_known_without_scored_events():
    (x, train), (x_test, test) = people(12), people(6, 100)
    unknown = [Facts(n.subject_id, Demographics(), None) for n in test]
    assert set(night_probe(x, train, x_test, unknown).values()) == {None}


def test_nights_of_a_prepared_folder(tmp_path):
    write_recordings(tmp_path / "recordings", range(4))
    people = [f"n{i},n{i},{('train', 'test')[i % 2]}\n" for i in range(4)]
    (tmp_path / "recordings" / "demographics.csv").write_text("night_id,subject_id,split\n" + "".join(people))
    prepare([tmp_path / "recordings"], tmp_path / "shards", load=load_random_night)
    config = shallow_config()
    scorer = Pretrained(ModelFolder(config, random_model(config)[1]))
    train, test = (
        token_nights(scorer, [tmp_path / "shards"], split=split, embeddings=tmp_path / "embeddings")
        for split in ("train", "test")
    )
    found = token_probe(train, test)
    assert {"stages_kappa", "breathing_ap", "arousal_auroc"} <= found.keys()
    assert 0 < found["breathing_prevalence"] < 1 and found["stages_kappa"] is None  # two people to learn from
    facts = [night.facts() for night in test]
    assert [f.subject_id for f in facts] == ["n1", "n3"] and all(f.ahi_per_h is not None for f in facts)
    assert np.isfinite(np.stack([night.statistics() for night in test])).all()
