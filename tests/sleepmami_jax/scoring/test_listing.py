"""The list of a night beside its indices: whoever counts the one gets the other, whatever the night."""

import csv
import io

import numpy as np
import pytest

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, Channel, Demographics, Night, Scoring
from data_pipeline.tasks import APNEA_TYPE, AROUSAL, BREATHING, K_COMPLEX, LIMB_MOVEMENT, RERA, SPINDLE, STAGES
from sleepmami_jax.scoring.files import events_csv, rejected_csv
from sleepmami_jax.scoring.found import is_child
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.score import summarise
from sleepmami_jax.trust.judge import Reliability

TASKS = (STAGES, BREATHING, AROUSAL, LIMB_MOVEMENT, SPINDLE, K_COMPLEX, APNEA_TYPE, RERA)
N_EPOCHS = 480
SUPINE = (2.0, 5.0)


def marks(rng, task, per_h, seconds):
    """Probabilities with marks of all lengths, some by chance too short or too long for the task."""
    rate, n_classes = task.rate_hz, len(task.events)
    probs = np.zeros((N_EPOCHS * EPOCH_S * rate, 1 + n_classes), np.float32)
    probs[:, 0] = 1
    for onset in rng.integers(0, len(probs), per_h * N_EPOCHS * EPOCH_S // 3600):
        row = np.zeros(1 + n_classes)
        row[1 + rng.integers(n_classes)] = rng.uniform(0.6, 1)
        row[0] = 1 - row.sum()
        probs[onset : onset + int(rng.uniform(*seconds) * rate) + 1] = row
    return probs


def made(seed):
    """Four hours of a night in which everything is recorded, and the model tells of every task."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.choice(5, N_EPOCHS // 20, p=[0.15, 0.1, 0.35, 0.2, 0.2]), 20)
    stage_probs = np.full((N_EPOCHS, 5), 0.05, np.float32)
    stage_probs[np.arange(N_EPOCHS), stages] = 0.8
    seconds = N_EPOCHS * EPOCH_S
    spo2 = np.full(seconds, 96.0)
    for onset in rng.integers(0, seconds - 60, 200):
        spo2[onset : onset + 41] -= np.round(rng.uniform(2, 7) * np.clip(1 - np.abs(np.arange(-20, 21)) / 20, 0, 1))
    slots = {"C3": Modality.EEG, "LEG_L": Modality.EMG, "THORAX": Modality.RESP}
    samples = {slot: (m, np.zeros(seconds * RATE_HZ[m], np.float32)) for slot, m in slots.items()}
    samples["THORAX"][1][:] = np.sin(2 * np.pi * 0.4 * np.arange(seconds * 32) / 32)
    samples["SPO2"] = Modality.SPO2, np.clip(spo2, 60, 100).astype(np.float32)
    samples["POSITION"] = Modality.POSITION, np.repeat(rng.integers(0, 6, 8), seconds // 8).astype(np.float32)
    quality = np.zeros(seconds, np.uint8)
    off = quality.copy()
    off[2000:2600] = 1
    channels = tuple(
        Channel(slot, m, x, off if slot in ("SPO2", "POSITION") else quality, slot, "", 1.0)
        for slot, (m, x) in samples.items()
    )
    scoring = Scoring(np.full(N_EPOCHS, -1, np.int8), lights_s=(600.0, 14_000.0), cpap_from_s=8000.0)
    night = Night("n", "s", "", seconds, channels, scoring)
    of_events = {
        "breathing": (40, (5, 40)),
        "arousal": (30, (2, 20)),
        "limb_movement": (80, (0, 12)),
        "rera": (10, (5, 30)),
    }
    of_events |= {"spindle": (200, (0.2, 4)), "k_complex": (60, (0.2, 4)), "apnea_type": (400, (5, 40))}
    probs = {task.name: marks(rng, task, *of_events[task.name]) for task in TASKS[1:]}
    there = np.ones(N_EPOCHS, bool)
    usable = {slot: there if slot == "C3" else np.arange(N_EPOCHS) < 440 for slot in (*slots, "SPO2")}
    prediction = Prediction(TASKS, probs | {"stages": stage_probs}, np.zeros(4), there, usable)
    risk = np.where(rng.random(N_EPOCHS) < 0.05, 0.9, 0.1).astype(np.float32)
    return night, prediction, Reliability({}, risk, stage_probs, ())


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def hours(scores, prediction, night, task, where):
    """Of sleep in which a task was monitored and the stage is sure, and of the part `where`."""
    stages = scores.stages
    if task == "oximetry":
        oximeter = next(c for c in night.channels if c.slot == "SPO2")
        return ((np.repeat(stages > 0, EPOCH_S) & (oximeter.quality == 0))[where]).sum() / 3600
    record = next(t for t in TASKS if t.name == task)
    sure = (stages > 0) & prediction.monitored(record) & (scores.reliability.epoch_risk < 0.5)
    return np.repeat(sure, EPOCH_S)[where].sum() / 3600


@pytest.mark.parametrize("seed", range(3))
def test_every_index_is_that_of_the_list(seed):
    night, prediction, reliability = made(seed)
    scores = summarise(night, prediction, {t.name: 0.5 for t in TASKS[1:]}, {}, reliability, supine=SUPINE)
    listed = read(events_csv(scores))
    counts: dict[str, int] = {}
    for row in listed:
        for name in filter(None, row["counts_as"].split(";")):
            counts[name] = counts.get(name, 0) + 1
    second = np.arange(N_EPOCHS * EPOCH_S)
    epochs = np.repeat(scores.stages, EPOCH_S)
    lying = next(c for c in night.channels if c.slot == "POSITION")
    parts = {"rem": epochs == 4, "nrem": np.isin(epochs, (1, 2, 3)), "n2": epochs == 2, "n3": epochs == 3}
    parts |= {"n2_n3": np.isin(epochs, (2, 3)), "on_cpap": second >= 8000, "before_cpap": second < 8000}
    supine = np.isin(lying.samples, SUPINE)
    parts |= {"supine": supine & (lying.quality == 0), "not_supine": ~supine & (lying.quality == 0)}
    families = {"ahi": "breathing", "rdi": "breathing", "odi": "oximetry", "plm_index": "limb_movement"}
    families |= {"rera": "rera", "limb": "limb_movement", "spindle": "spindle", "k_complex": "k_complex"}
    families |= {f"{what}_index": "breathing" for what in ("apnea", "hypopnea", "apnea_index", "central", "mixed")}
    seen = set()
    for key, value in scores.statistics.items():
        name, _, unit = key.rpartition("_per_")
        if not name or value is None or key == "hypoxic_burden_pct_min_per_h" or "cycle" in key:
            continue
        task = next((t for start, t in families.items() if name.startswith(start)), "breathing")
        task = "arousal" if "arousal" in name else task
        part = next((p for p in sorted(parts, key=len, reverse=True) if name.endswith(f"_{p}")), None)
        where = parts[part] if part else np.ones(len(second), bool)
        of = hours(scores, prediction, night, task, where) * (60 if unit == "min" else 1)
        assert counts.get(name, 0) == pytest.approx(value * of), key
        seen.add(name)
    assert counts.keys() - seen <= {name for name in counts if "cycle" in name}
    wanted = {"ahi_1a", "ahi_1b", "rdi", "odi4", "central_apnea_index", "ahi_supine", "ahi_on_cpap", "plm_index"}
    assert wanted | {"spindle_density_n2_n3", "plm_arousal_index", "spontaneous_arousal_index"} <= seen
    causes = [counts[f"{cause}_arousal_index"] for cause in ("respiratory", "plm", "spontaneous")]
    assert sum(causes) == counts["arousal_index"]
    assert all(row["counts_as"] or row["why_not"] for row in listed)
    # A hypopnea that rule 1A leaves out has no arousal and no desaturation beside it, and one that it takes has.
    for row in listed:
        if row["kind"] == "hypopnea" and "ahi" in row["counts_as"].split(";"):
            by_1a = "ahi_1a" in row["counts_as"].split(";")
            assert by_1a == bool(row["arousal_onset_s"] or row["desaturation_onset_s"]) != ("ahi_1a" in row["why_not"])
        if row["kind"].endswith("_apnea"):
            assert float(row["type_probability"]) > 0.25


def test_what_is_rejected_stands_in_a_table_of_its_own():
    night, prediction, reliability = made(0)
    scores = summarise(night, prediction, {t.name: 0.5 for t in TASKS[1:]}, {}, reliability)
    rejected = read(rejected_csv(scores))
    reasons = {(row["kind"], row["why"]) for row in rejected}
    assert ("spindle", "shorter than 0.5 s") in reasons and ("desaturation", "in wake") in reasons
    assert ("limb_movement", "within 0.5 s of a breathing event") in reasons and all(row["why"] for row in rejected)
    places = {(row["kind"], row["onset_s"]) for row in rejected}
    assert not places & {(row["kind"], row["onset_s"]) for row in read(events_csv(scores))}
    assert [float(row["onset_s"]) for row in rejected] == sorted(float(row["onset_s"]) for row in rejected)


def test_a_child_by_its_age_or_as_it_is_told():
    night, prediction, _ = made(0)
    thresholds = {t.name: 0.5 for t in TASKS[1:]}

    def score(rules=None):
        return summarise(night, prediction, thresholds, {}, rules=rules).statistics

    adult, child = score(), score("child")
    assert (adult["breathing_rules"], child["breathing_rules"]) == ("adult", "child")
    assert child["ahi_per_h"] > adult["ahi_per_h"] and "ahi_1b_per_h" not in child  # two breaths are 5 s

    def aged(years, rules=None):
        return is_child(Night(**vars(night) | {"demographics": Demographics(years)}), rules)

    assert aged(12.9) and not aged(13) and not aged(None) and not aged(5, "adult") and aged(40, "child")
    with pytest.raises(ValueError, match="expected 'adult', 'child'"):
        aged(5, "baby")
