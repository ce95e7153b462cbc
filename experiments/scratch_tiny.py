"""What `finetune_tiny` is measured against: the same network, scored nights, windows and steps, nothing pretrained.

    sleepmami finetune --config experiments/scratch_tiny.py --workdir runs/scratch

A minute on two CPU cores. Only where the parameters begin differs from `finetune_tiny`.
"""

from dataclasses import replace

from experiments import finetune_tiny
from sleepmami_jax.config import Experiment


def get_config() -> Experiment:
    pretrained = finetune_tiny.get_config()
    return replace(pretrained, name="scratch-tiny", init=None)
