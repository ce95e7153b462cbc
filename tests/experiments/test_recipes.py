"""What recipes for certain chips say of memory and hours is what arithmetic says of them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from experiments import micro_gpu_node, micro_one_gpu, micro_v5e_16, micro_v5p_64
from sleepmami_jax.config import Experiment
from sleepmami_jax.costs.chips import CHIPS
from sleepmami_jax.costs.flops import decoder_cost, micro_costs, step_flops, total
from sleepmami_jax.models.micro import layout
from sleepmami_jax.objectives.masked import visible_tokens


class Projection(NamedTuple):
    """Of a whole run of micro pretraining.

    Attributes:
      state_gb: of a chip: what is trained, its gradient, two moments and the running average, float32. Activations come
        on top: `sleepmami compile` has them, for TPUs.
      hbm_gb: what the chip has.
      peak_h: hours if every chip did useful FLOPs at the rate of its data sheet all the time.
    """

    state_gb: float
    hbm_gb: float
    peak_h: float


def projection(experiment: Experiment, device_kind: str, chips: int) -> Projection:
    visible = visible_tokens(layout(experiment.model.modalities), experiment.objective.mask)
    parameters = total(micro_costs(experiment.model)).parameters
    parameters += decoder_cost(experiment.model, experiment.objective.decoder_dim, 1, visible).parameters
    copies, chip = 4 + bool(experiment.optimizer.ema), CHIPS[device_kind]
    seconds = experiment.steps * step_flops(experiment) / (chips * chip.flops)
    return Projection(4e-9 * parameters * copies / experiment.mesh.fsdp, chip.hbm / 1e9, seconds / 3600)


@pytest.mark.parametrize("recipe", [micro_one_gpu, micro_gpu_node, micro_v5e_16, micro_v5p_64])
def test_a_recipe_says_what_it_takes(recipe):
    experiment, (kind, chips) = recipe.get_config(), recipe.CHIPS
    found = projection(experiment, kind, chips)
    said = f"{chips} x {kind}: {found.state_gb:.2f} of {found.hbm_gb:.0f} GB a chip are state, {found.peak_h:.2f} h"
    assert said in " ".join(recipe.__doc__.split())
    assert experiment.objective.batch % (chips * experiment.accumulate) == 0
    assert found.state_gb < found.hbm_gb / 4
