"""Micro pretraining, large, on 64 chips of TPU v5p.

    sleepmami pretrain --config experiments/micro_v5p_64.py --workdir gs://BUCKET/runs/micro --distributed

64 x TPU v5: 1.59 of 96 GB a chip are state, 0.08 h. What hours mean, and all that is not said
here, is as in `micro_one_gpu`. Nobody has run it.
"""

from dataclasses import replace

from sleepmami_jax.config import Experiment
from sleepmami_jax.costs.sizes import size

from . import micro_one_gpu

CHIPS = ("TPU v5", 64)


def get_config() -> Experiment:
    one = micro_one_gpu.get_config()
    objective = replace(one.objective, batch=64 * 1024)
    return replace(one, name="micro_v5p_64", objective=objective, model=size("large"), accumulate=4)
