"""Train heads on scored nights.

sleepmami finetune --config finetune_tiny --workdir runs/finetune
sleepmami finetune --config finetune_tiny --workdir runs/finetune --set 'validation={"every": 60, "patience": 4}'
"""

from argparse import Namespace

from sleepmami_jax.commands.arguments import join
from sleepmami_jax.commands.arguments import training as arguments

__all__ = ["arguments", "run"]


def run(args: Namespace) -> int:
    from sleepmami_jax.config import ConfigError, Finetuning, load_experiment
    from sleepmami_jax.training.finetune import finetune

    join(args)
    experiment = load_experiment(args.config, args.set)
    if not isinstance(experiment.objective, Finetuning):
        raise ConfigError(f"{args.config} is a pretraining experiment; use `sleepmami pretrain`")
    model = finetune(experiment, args.workdir, accept_changes=args.accept_changes, profile=args.profile)
    print(f"model folder: {model}")
    return 0
