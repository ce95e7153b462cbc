"""One table of names, read both ways."""

from dataclasses import replace

import numpy as np
import pytest

from sleepmami_jax.models.sleepmami import structure
from sleepmami_jax.twin.names import from_torch, to_torch, torch_name
from tests.support.twins import HEADS


def test_every_parameter_goes_there_and_back(tiny_folder):
    params = tiny_folder.params
    there = to_torch(params)
    assert len(there) == len(params)
    back = from_torch(there, {name: value.shape for name, value in params.items()})
    assert back.keys() == params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_a_state_space_block_is_called_what_mamba_calls_it(model):
    names = [torch_name(n)[0] for n in model[1] if n.startswith("macro/levels/0/0/")]
    block = "macro.levels.0.0."
    of_mamba = {"A_log", "D", "dt_bias", "conv1d.weight", "conv1d.bias", "norm.weight"}
    for direction in ("directions.0.", "directions.1."):
        assert {n.removeprefix(block + direction) for n in names if direction in n} == of_mamba
    assert {block + "in_proj.weight", block + "out_proj.weight", block + "norm.weight"} <= set(names)
    there = to_torch({"x/forward/conv_kernel": np.arange(8.0).reshape(4, 2)})["x.directions.0.conv1d.weight"]
    np.testing.assert_array_equal(there, [[[0, 2, 4, 6]], [[1, 3, 5, 7]]])


def test_the_other_mixer_has_names_too(tiny):
    other = replace(tiny, macro=replace(tiny.macro, mixer="selective"))
    shapes = structure(other, tasks=HEADS)[1]
    assert len({torch_name(name)[0] for name in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("heads.stages.bias"), "1 weights are missing, first heads.stages.bias"),
        (lambda w: w.update(novelty=np.zeros(2)), "none of this model's, first novelty"),
        (lambda w: w.update({"heads.stages.bias": np.zeros(4)}), r"heads.stages.bias: expected shape \(5,\), found"),
    ],
)
def test_what_does_not_fit_is_named(model, change, says):
    weights = to_torch(model[1])
    change(weights)
    with pytest.raises(ValueError, match=says):
        from_torch(weights, {name: value.shape for name, value in model[1].items()})


def test_a_name_without_a_rule_is_named():
    with pytest.raises(ValueError, match="macro/novelty: no rule"):
        torch_name("macro/novelty")
