"""Compile the training step for a TPU pod that is not here: memory, collectives, projected time.

sleepmami compile --config micro_tiny --topology v5e:16x16
"""

import json
import os
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from sleepmami_jax.commands.arguments import experiment


def arguments(parser: ArgumentParser) -> None:
    experiment(parser)
    parser.add_argument("--topology", required=True, help="chips, such as v5e:16x16 or v5p:4x4x4")


def run(args: Namespace) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from sleepmami_jax.config import load_experiment
    from sleepmami_jax.costs.compile import compile_ahead
    from sleepmami_jax.training.step import lower

    compiled = compile_ahead(load_experiment(args.config, args.set), args.topology, lower)
    print(json.dumps(asdict(compiled), indent=1))
    return 0
