"""Random search and successive halving: who gets on, in whatever order the runs are done."""

from __future__ import annotations

import pytest

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import load_sweep
from sleepmami_jax.sweep.search import Choice, Range, draws, search
from tests.support.sweeps import Here, launch_all, rows, sleepmami

SEARCH = '''"""Which bait?"""
from sleepmami_jax.sweep import Choice, Range, search
from sleepmami_jax.training.nonfinite import NonFiniteError

def trial(sweep, name, budget, depth, bait):
    with open(sweep / "tried", "a") as tried:
        tried.write(name + " ")
    if bait == "stone" and depth > 5:
        raise NonFiniteError("no fish at all")
    return {"fish": -abs(depth - 6) if bait == "worm" else None, "hours": budget}

def sweep():
    space = {"depth": Range(0, 10), "bait": Choice(("worm", "stone"))}
    return search(trial, space, n=9, budgets=(1, 3, 9), metric="fish", seed=4)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bait.py"
    path.write_text(SEARCH)
    return path


def test_the_better_third_gets_on(file, workdir):
    assert launch_all(file, workdir, Here(), parallel=None) == ([], [])
    assert sleepmami(file, workdir) == 0
    table = rows(workdir / "table.csv")
    first = [row for row in table if row["budget"] == "1"]
    known = sorted((r for r in first if r["fish"]), key=lambda r: -float(r["fish"]))
    assert len(first) == 9 and {"worm", "stone"} == {r["bait"] for r in first} and len(known) >= 3
    assert [r["draw"] for r in table if r["budget"] == "3"] == [r["draw"] for r in known[:3]]
    assert [(r["draw"], r["hours"]) for r in table if r["budget"] == "9"] == [(known[0]["draw"], "9.0")]


def test_a_search_goes_on_where_it_stopped(file, workdir):
    launch_all(file, workdir, Here(fails=["rung1-1"]))
    assert "rung2-0" not in (workdir / "tried").read_text()
    launch_all(file, workdir, Here())
    tried = (workdir / "tried").read_text().split()
    assert tried.count("rung0-0") == 1 and tried[-2:] == ["rung1-1", "rung2-0"]


def test_draws_are_of_the_seed_and_in_their_ranges():
    space = {"rate": Range(1e-4, 1e-2, log=True), "batch": Choice((4, 8))}
    many = draws(space, 200, seed=1)
    assert many[:5] == draws(dict(reversed(space.items())), 5, seed=1) != draws(space, 5, seed=2)
    rates = [d["rate"] for d in many]
    assert min(rates) >= 1e-4 and max(rates) <= 1e-2 and 70 < sum(rate < 1e-3 for rate in rates) < 130


def test_a_search_that_cannot_be_is_refused(file):
    space = {"depth": Range(0, 10)}
    with pytest.raises(ConfigError, match="expected at least 9 draws for 3 rungs"):
        search(print, space, n=8, budgets=(1, 2, 3), metric="fish")
    with pytest.raises(ConfigError, match="budgets that grow"):
        search(print, space, n=8, budgets=(3, 1), metric="fish")
    file.write_text(SEARCH.replace('metric="fish"', 'metric="whale"'))
    sweep = load_sweep(file)
    file.parent.joinpath("runs").mkdir()
    with pytest.raises(ConfigError, match="the trial measured fish, hours, expected 'whale' among them"):
        next(run for run in sweep.runs.values() if run.factors["bait"] == "worm").do(file.parent)
