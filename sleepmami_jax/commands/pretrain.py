"""Pretrain the Micro- or the Macro-Encoder.

sleepmami pretrain --config micro_tiny --workdir runs/micro --set steps=50
sleepmami pretrain --config micro_tiny --workdir runs/micro --set 'validation={"every": 60, "patience": 4}'
"""

from argparse import Namespace

from sleepmami_jax.commands.arguments import join
from sleepmami_jax.commands.arguments import training as arguments

__all__ = ["arguments", "run"]


def run(args: Namespace) -> int:
    from sleepmami_jax.config import ConfigError, Finetuning, load_experiment
    from sleepmami_jax.training.loop import train

    join(args)
    experiment = load_experiment(args.config, args.set)
    if isinstance(experiment.objective, Finetuning):
        raise ConfigError(f"{args.config} is a fine-tuning experiment; use `sleepmami finetune`")
    model = train(experiment, args.workdir, accept_changes=args.accept_changes, profile=args.profile)
    print(f"model folder: {model}")
    return 0
