"""What a model knows of its nights: fitted on what it says of some, as they are and with something put wrong."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipeline.night import STAGES, RecordingError
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.tasks import STAGES as STAGING
from sleepmami_jax.config import DataConfig, DataSource, Finetuning
from sleepmami_jax.evaluation.evaluate import evaluate
from sleepmami_jax.evaluation.reference import FEWEST_CASES, cases_of, fit_reference, reference_of
from sleepmami_jax.evaluation.table import metrics_table
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError, load_model, save_model
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import bars
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.trust.fit import fit_risk
from sleepmami_jax.trust.judge import judge_looks
from sleepmami_jax.trust.shifts import SHIFTS
from tests.support.nights import load_random_night, random_night, write_recordings
from tests.support.signals import night_of_noise

WRONG = [s for s in SHIFTS if s.name in ("EEG and EMG exchanged", "noise 1/f^0 as EEG", "EEG above 12 Hz only")]
HARMLESS = [s for s in SHIFTS if s.name == "SpO2 600 s late"]


class Honest:
    """Says the true stages where the EEG is the one that it knows, any others where it is not: a model without JAX."""

    folder = SimpleNamespace(tasks=(STAGING,))

    def __init__(self, nights):
        self.thresholds = {}
        self.known = {night.night_id: night.channels[0].samples for night in nights}

    def listen(self, night):
        rng, right = np.random.default_rng(0), (night.channels[0].samples == self.known[night.night_id]).all()
        said = night.scoring.stages if right else rng.integers(0, 5, night.n_epochs)
        probs = np.where(np.eye(5, dtype=bool)[said], 0.84, 0.04).astype(np.float32)
        usable = {c.slot: np.ones(night.n_epochs, bool) for c in night.channels}
        tokens = {"EEG": (rng.normal(size=(night.n_epochs, 4)), np.ones(night.n_epochs, bool))}
        ok = np.ones(night.n_epochs, bool)
        return Prediction((STAGING,), {"stages": probs}, np.zeros(3, np.float32), ok, usable), tokens


@pytest.fixture(scope="module")
def nights():
    return [night_of_noise(seed=seed) for seed in range(8)]


@pytest.fixture(scope="module")
def groups(nights):
    model = Honest(nights)
    return [list(cases_of(model, night, WRONG + HARMLESS, seed)) for seed, night in enumerate(nights)]


def judged(reference, case):
    p = case.prediction
    return judge_looks(reference, (STAGING,), case.looks, case.tokens, p.stage_probs, p.scorable)


def test_the_first_case_is_the_night_as_it_is_and_the_others_say_what_changed(groups):
    for group in groups:
        assert [case.shift for case in group] == ["", *(s.name for s in WRONG + HARMLESS)]
        assert group[0].kappa == 1 and not group[0].changed
        assert group[1].changed == {"C3", "C4", "CHIN"} and abs(group[1].kappa) < 0.4
        assert group[-1].changed == {"SPO2"} and group[-1].kappa == 1


def test_what_makes_the_model_wrong_is_told_from_what_does_not(nights, groups):
    reference = reference_of(Honest(nights), groups[:6])
    assert reference.nights == 6 and reference.shifted == 6 * len(WRONG + HARMLESS)
    for group in groups[6:]:  # of people never met
        assert [judged(reference, case).reliable["stages"] for case in group] == [True, *([False] * len(WRONG)), True]


def test_a_model_that_boasts_becomes_less_sure_and_a_modest_one_stays(nights, groups):
    assert reference_of(Honest(nights), groups).temperature["stages"] == pytest.approx(1, abs=0.01)

    def boastful(case):
        stages = np.where(np.arange(len(case.human_stages)) % 3 == 0, 0, case.human_stages)
        return replace(case, human_stages=stages)

    boasting = [[boastful(case) for case in group] for group in groups]
    assert reference_of(Honest(nights), boasting).temperature["stages"] > 1.1


def test_the_share_of_wrong_epochs_is_that_of_the_cases(nights, groups):
    reference = reference_of(Honest(nights), groups)
    clean = np.concatenate([judged(reference, group[0]).epoch_risk for group in groups])
    shifted = np.concatenate([judged(reference, group[1]).epoch_risk for group in groups])
    assert clean.mean() < 0.2 < 0.6 < shifted.mean()
    n_epochs = reference.epoch.cases + reference.epoch_astray.cases
    assert n_epochs == sum(len(case.human_stages) for group in groups for case in group)


def test_faults_however_many_weigh_as_much_as_the_nights_in_which_all_is_well(nights, groups, monkeypatch):
    fitted = []

    def spy(measures, wrong, weight):
        fitted.append(weight)
        return fit_risk(measures, wrong, weight)

    monkeypatch.setattr("sleepmami_jax.evaluation.reference.fit_risk", spy)
    reference_of(Honest(nights), groups)
    is_well = np.array([case.shift == "" for group in groups for case in group])
    assert fitted[0][is_well].sum() == pytest.approx(fitted[0][~is_well].sum()) and is_well.mean() == 0.2


# The real thing on prepared nights


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    write_recordings(folder / "recordings", range(4))
    people = [f"n{i},n{i},{split}\n" for i, split in enumerate(("train", "val", "val", "test"))]
    (folder / "recordings" / "demographics.csv").write_text("night_id,subject_id,split\n" + "".join(people))
    prepare([folder / "recordings"], folder / "shards", load=load_random_night)
    return folder / "shards"


@pytest.fixture(scope="module")
def scorer(tiny, model):
    card = {"training": [], "thresholds": {}}
    return Pretrained(ModelFolder(tiny, model[1], Finetuning().tasks, {"breathing": 0.1, "arousal": 0.1}, card))


@pytest.fixture(scope="module")
def fitted(scorer, shards):
    data = DataConfig(shards=(DataSource(str(shards)),))
    fit = partial(fit_reference, scorer, data, seed=0, progress=bars(quiet=True))
    return fit, fit(cases=12)


def test_so_many_cases_are_looked_at_of_validation_nights_first(fitted, shards):
    fit, reference = fitted
    assert (reference.nights, reference.shifted) == (3, 9)
    assert set(reference.night) == {"stages", "breathing", "arousal"} and set(reference.temperature) == {"stages"}
    assert fit(cases=FEWEST_CASES - 1) is None
    (training,) = (night for night in read_manifest(shards).nights if night.split == "train")
    met = {STAGES[code] for code in training.stage_codes if code >= 0}
    assert met and set(reference.never) == set(STAGES) - met
    assert fit(cases=12) == reference  # the same seed, the same bytes


def test_without_a_validation_night_there_is_nothing_to_fit(scorer, tmp_path):
    write_recordings(tmp_path / "in", [1])
    prepare([tmp_path / "in"], tmp_path / "out", config=PrepareConfig(0, 0), load=load_random_night)
    data = DataConfig(shards=(DataSource(str(tmp_path / "out")),))
    assert fit_reference(scorer, data, cases=12, seed=0, progress=bars(quiet=True)) is None


def test_it_travels_with_the_model_and_is_used_by_score_and_evaluate(scorer, shards, fitted, tmp_path):
    folder = replace(scorer.folder, reference=fitted[1])
    save_model(folder, tmp_path / "model")
    assert load_model(tmp_path / "model").reference == fitted[1]
    tokens = {"EEG": replace(fitted[1].tokens["EEG"], mean=(0.0,), sd=(1.0,))}
    for wrong, says in (
        (replace(fitted[1], tokens=tokens), "tokens.EEG: 1 numbers"),
        (replace(fitted[1], night={"snore": fitted[1].night["stages"]}), "night.snore: not of a task"),
        (replace(fitted[1], epoch=fitted[1].night["stages"]), "epoch: of measures"),
    ):
        save_model(replace(folder, reference=wrong), tmp_path / "wrong")
        with pytest.raises(ModelFolderError, match=says):
            load_model(tmp_path / "wrong")
    judging = Pretrained(load_model(tmp_path / "model"))
    night = random_night(7)
    scores = judging.score(night)
    assert set(scores.reliability.risk) == {"stages", "breathing", "arousal"}
    assert scorer.score(night).reliability is None
    options = {"split": "test", "embeddings": tmp_path / "e", "progress": bars(quiet=True)}
    metrics = evaluate(judging, (str(shards),), **options)
    assert "surest 80 % of epochs" in metrics_table(metrics, judging.folder.tasks)
    trust = metrics["trust"]
    assert trust["epochs"]["n"] > 0 and 0 <= trust["epochs"]["ece"] <= 1 and trust["stages"]["n"] == 1
    plain = evaluate(scorer, (str(shards),), **options)
    assert plain["trust"] == {} and "surest" not in metrics_table(plain, scorer.folder.tasks)


def test_scored_epochs_of_a_night_are_used_and_said(scorer, tmp_path):
    night = random_night(3, n_epochs=24)
    (tmp_path / "some.csv").write_text("onset_s,duration_s,stage\n" + "".join(f"{30 * e},30,N2\n" for e in range(20)))
    scores = scorer.score(night, calibrate=tmp_path / "some.csv", out=tmp_path / "out")
    plain = scorer.score(night)
    assert (scores.stages[:20] == 2).all() and not (plain.stages[:20] == 2).all()
    said = json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    assert any("Changed by 20 scored epochs" in note for note in said)
    (tmp_path / "none.csv").write_text("onset_s,duration_s,type\n5,4,arousal\n")
    with pytest.raises(RecordingError, match="names no stage"):
        scorer.score(night, calibrate=tmp_path / "none.csv")
