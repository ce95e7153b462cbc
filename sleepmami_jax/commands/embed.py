"""Micro tokens and night vectors of prepared nights.

sleepmami embed --model demo/model shards --out embedded
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import loaded, model


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, help="a prepared folder")
    model(parser)
    parser.add_argument("--out", type=Path, required=True, help="a folder; nights embedded there before are kept")


def run(args: Namespace) -> int:
    from sleepmami_jax.many.embed import embed_shards
    from sleepmami_jax.run.progress import bars

    nights = embed_shards(loaded(args), args.shards, args.out, bars(quiet=False))
    print(f"{nights} nights in {args.out}")
    return 0
