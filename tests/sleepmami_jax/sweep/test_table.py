"""Results as tables."""

from __future__ import annotations

import pytest

from sleepmami_jax.sweep.result import Result
from sleepmami_jax.sweep.table import groups
from tests.support.sweeps import Here, launch_all, rows, sleepmami


def test_means_are_over_seeds(file, workdir):
    launch_all(file, workdir, Here())
    assert sleepmami(file, workdir) == 0
    averaged = rows(workdir / "summary.csv")
    assert [(row["net"], row["width"], row["n"]) for row in averaged] == [
        ("fine", "2", "2"),
        ("fine", "4", "2"),
        ("coarse", "2", "2"),
    ]
    assert (float(averaged[1]["fish"]), float(averaged[1]["fish_sd"])) == (12.5, pytest.approx(0.5**0.5))
    assert (averaged[0]["error"], averaged[1]["error"], averaged[1]["error_sd"]) == ("", "0.5", "0.0")
    text = (workdir / "summary.md").read_text()
    assert text.startswith("# Does a wider net catch more?\n") and "7 of 7 runs finished" in text
    assert "| fine | 4 | 2 | 12.5 ± 0.71 | 0.5 ± 0 |" in text and "| coarse | 2 | 2 | 6.5 ± 0.71 | – |" in text
    written = {path.relative_to(workdir): path.read_bytes() for path in workdir.glob("[stp]*/*.png")}
    assert {str(path) for path in written} == {"plots/wider-nets.png", "plots/2-fish-by-net.png"}
    tables = {name: (workdir / name).read_bytes() for name in ("table.csv", "summary.csv", "summary.md")}
    assert sleepmami(file, workdir) == 0
    assert all((workdir / path).read_bytes() == data for path, data in (written | tables).items())


def test_a_table_has_the_factors_in_the_order_of_the_runs():
    """Whatever order a run writes them in, and not by the alphabet."""
    runs = {
        "a": Result({"width": 2, "net": "fine", "seed": 0}, {"fish": 1.0}, 1.0),
        "b": Result({"net": "fine", "width": 2, "seed": 1}, {"fish": 2.0}, 1.0),
    }
    (both,) = groups(runs)
    assert list(both.factors) == ["width", "net"] and both.n == 2
