"""The named sizes, by their real parameters."""

import math

import pytest

from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.config import ConfigError, ModelConfig
from sleepmami_jax.costs.sizes import DEPTH, model_of_depth, size
from sleepmami_jax.models.sleepmami import structure


def parameters(config: ModelConfig) -> int:
    return sum(math.prod(leaf.shape) for leaf in structure(config)[1].values())


def test_tiny_is_the_default_model():
    assert size("tiny") == ModelConfig()


@pytest.mark.parametrize(("name", "millions"), [("small", 5), ("base", 15), ("large", 85), ("xl", 300)])
def test_a_size_has_about_its_parameters(name, millions):
    assert parameters(size(name)) / 1e6 == pytest.approx(millions, rel=0.15)


def test_every_depth_is_a_model_larger_than_the_one_before():
    held = [parameters(model_of_depth(depth)) for depth in (2, 4, 6, 8, 10, 14)]
    assert held == sorted(held)


def test_other_names_and_depths_are_refused():
    with pytest.raises(ConfigError, match="size 'medium': expected one of tiny, small, base, large, xl"):
        size("medium")
    for depth in (0, 3):
        with pytest.raises(ConfigError, match=f"depth {depth}: expected an even number"):
            model_of_depth(depth)


def test_the_table(capsys):
    assert run_command(parse(["sleepmami", "sizes", "--night-hours", "8"])) == 0
    print(shown := capsys.readouterr().out)
    head, columns, *rows = shown.partition("\n\n")[0].splitlines()
    assert "night of 8 h, GFLOP" in head and columns.split()[:3] == ["size", "dim", "depth"]
    cells = {row.split()[0]: [float(v) for v in row.split()[1:]] for row in rows}
    assert list(cells) == list(DEPTH)
    for name, (dim, depth, held, active, epoch, micro, macro, weights, adamw) in cells.items():
        config = size(name)
        assert (dim, depth) == (config.micro.dim, config.micro.shared_depth)
        assert held == pytest.approx(parameters(config) / 1e6, abs=0.06)
        assert 0.25 * held < active < 0.7 * held  # the night has no experts
        assert micro == pytest.approx(epoch * 960 / 1e3, abs=1)
        assert macro < micro / 4  # the night is cheap once its epochs are read
        assert adamw == pytest.approx(3 * weights, abs=2)


@pytest.mark.parametrize("hours", ["0", "nan", "inf"])
def test_a_night_without_an_epoch_or_an_end_is_refused(hours, capsys):
    assert run_command(parse(["sleepmami", "sizes", "--night-hours", hours])) == 1
    assert f"a night of {float(hours)} h: expected at least one epoch of 30 s" in capsys.readouterr().err
