"""Micro pretraining, base, on 16 chips of TPU v5e.

    sleepmami pretrain --config experiments/micro_v5e_16.py --workdir gs://BUCKET/runs/micro --distributed

16 x TPU v5 lite: 0.21 of 16 GB a chip are state, 0.05 h. What hours mean, and all that is not said
here, is as in `micro_one_gpu`. Nobody has run it.
"""

from dataclasses import replace

from sleepmami_jax.config import Experiment

from . import micro_one_gpu

CHIPS = ("TPU v5 lite", 16)


def get_config() -> Experiment:
    one = micro_one_gpu.get_config()
    objective = replace(one.objective, batch=16 * 2048)
    return replace(one, name="micro_v5e_16", objective=objective, accumulate=4)
