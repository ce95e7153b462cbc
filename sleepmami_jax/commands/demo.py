"""Simulate, train, evaluate and score, from nothing, in a few minutes.

sleepmami demo --out demo
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="a new folder; it takes about 3 GB")


def run(args: Namespace) -> int:
    from sleepmami_jax.recipes.demo import run

    run(args.out)
    return 0
