"""Experiments that are sweeps: their files can be planned, and what they share is made by one of them at a time."""

from pathlib import Path

import pytest

from data_pipeline.lock import alone_in
from experiments import foundation
from sleepmami_jax.sweep.plan import load_sweep

FOLDER = Path(foundation.__file__).parent
SWEEPS = sorted(path for path in FOLDER.glob("*.py") if "\ndef sweep(" in path.read_text())
NOTHING_IS_LEARNT = ("pods", "scaling")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_an_experiment_of_many_runs_can_be_planned(path):
    sweep = load_sweep(path)
    assert f"sleepmami sweep --config experiments/{path.name}" in path.read_text()
    compared = [run for run in sweep.runs.values() if run.factors]
    told_apart = {tuple(sorted(run.factors.items())) for run in compared}
    assert len(told_apart) == len(compared) > 0
    if path.stem not in NOTHING_IS_LEARNT:
        assert {run.factors["seed"] for run in compared} == set(foundation.SEEDS)


@pytest.mark.parametrize(
    ("made", "make"),
    [
        ("cohort", foundation.make_nights),
        ("micro-1", lambda sweep: foundation.pretrain(sweep, "micro", 1)),
        ("micro-1", lambda sweep: foundation.make_tokens(sweep, 1)),
    ],
)
def test_what_is_shared_is_not_made_twice_at_once(tmp_path, monkeypatch, made, make):
    monkeypatch.setattr(foundation.cohort, "make", lambda folder: None)
    for name in ("load", "token_nights"):
        monkeypatch.setattr(foundation, name, lambda *_, **__: None)
    with (
        alone_in(tmp_path / "foundation" / made),
        pytest.raises(ValueError, match=f"{made}: another run is working in this folder"),
    ):
        make(tmp_path / "mine")
    monkeypatch.setattr(foundation, "train", trained_alone)
    make(tmp_path / "mine")  # nobody is in the way, not even what calls it


def trained_alone(experiment, workdir):
    with alone_in(workdir):
        pass
