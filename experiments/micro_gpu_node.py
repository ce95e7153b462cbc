"""Micro pretraining, large, on one node of eight H100.

    sleepmami pretrain --config experiments/micro_gpu_node.py --workdir runs/micro

8 x NVIDIA H100 80GB HBM3: 1.59 of 80 GB a chip are state, 0.04 h. What hours mean, and all that is not said
here, is as in `micro_one_gpu`. Nobody has run it.
"""

from dataclasses import replace

from sleepmami_jax.config import Experiment
from sleepmami_jax.costs.sizes import size

from . import micro_one_gpu

CHIPS = ("NVIDIA H100 80GB HBM3", 8)


def get_config() -> Experiment:
    one = micro_one_gpu.get_config()
    objective = replace(one.objective, batch=8 * 1024)
    return replace(one, name="micro_gpu_node", objective=objective, model=size("large"))
