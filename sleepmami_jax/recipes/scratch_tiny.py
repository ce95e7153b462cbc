"""What `finetune_tiny` is measured against: the same network and scored nights, nothing pretrained.

    sleepmami finetune --config scratch_tiny --workdir runs/scratch

A minute on two CPU cores. Every parameter is trained, the Micro-Encoder too, so a step costs more; windows and steps
are chosen so that its training takes at least as long as that of `finetune_tiny`.
"""

from dataclasses import replace

from sleepmami_jax.config import Experiment
from sleepmami_jax.recipes import finetune_tiny


def get_config() -> Experiment:
    pretrained = finetune_tiny.get_config()
    return replace(
        pretrained,
        name="scratch-tiny",
        init=None,
        objective=replace(pretrained.objective, epochs=24, freeze_micro=False),
        steps=45,
        save_every=15,
    )
