"""What recipes for certain chips say of memory and hours is what arithmetic says of them."""

import pytest

from experiments import micro_gpu_node, micro_one_gpu, micro_v5e_16, micro_v5p_64
from sleepmami_jax.costs.projection import projection


@pytest.mark.parametrize("recipe", [micro_one_gpu, micro_gpu_node, micro_v5e_16, micro_v5p_64])
def test_a_recipe_says_what_it_takes(recipe):
    experiment, (kind, chips) = recipe.get_config(), recipe.CHIPS
    found = projection(experiment, kind, chips)
    said = f"{chips} x {kind}: {found.state_gb:.2f} of {found.hbm_gb:.0f} GB a chip are state, {found.peak_h:.2f} h"
    assert said in " ".join(recipe.__doc__.split())
    assert experiment.objective.batch % (chips * experiment.accumulate) == 0
    assert found.state_gb < found.hbm_gb / 4
