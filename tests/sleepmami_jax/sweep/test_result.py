"""One run and its result."""

from __future__ import annotations

import pytest

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import load_sweep
from sleepmami_jax.sweep.result import do_run, read_results
from tests.support.sweeps import EXPERIMENT, Here, launch_all, sleepmami


def test_a_run_alone_asks_for_its_predecessors(file, workdir):
    sweep = load_sweep(file)
    with pytest.raises(ConfigError, match="fine-2-0: pond must be finished first"):
        do_run(sweep, workdir, "fine-2-0")
    with pytest.raises(ConfigError, match="no run is named 'fine-2'"):
        do_run(sweep, workdir, "fine-2")


def test_a_measure_that_is_no_number_is_refused(file, workdir):
    file.write_text(EXPERIMENT.replace("else 0.5", "else float('nan')"))
    sweep = load_sweep(file)
    do_run(sweep, workdir, "pond")
    with pytest.raises(ValueError, match="fine-4-0: measure error is nan"):
        do_run(sweep, workdir, "fine-4-0")
    assert "fine-4-0" not in read_results(sweep, workdir)


def test_another_run_of_that_name_is_refused(file, workdir, capsys):
    launch_all(file, workdir, Here(fails=["fine-2-1"]))
    file.write_text(EXPERIMENT.replace('("fine", 4)', '("fine", 4.5)').replace("-{width}-", "-{int(width)}-"))
    assert sleepmami(file, workdir) == 1
    error = capsys.readouterr().err
    assert "do.arguments.width was 4 and is now 4.5 (and 1 more)" in error and "fine-4-0" in error
    assert "remove this folder" in error
    file.write_text(EXPERIMENT.replace('Run("pond", pond)', 'Run("pond", pond, {"depth": 2})'))
    with pytest.raises(ConfigError, match=r"pond was started as another run: factors\.depth was 'absent' and is now 2"):
        read_results(load_sweep(file), workdir)
    (workdir / "runs" / "pond" / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"fine-2-0 was .* 'pond', which comes before it, is another"):
        read_results(load_sweep(file), workdir)
