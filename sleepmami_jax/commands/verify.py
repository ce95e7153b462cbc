"""Check every checksum and count of prepared shards.

sleepmami verify shards
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import workers


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, help="a prepared folder")
    workers(parser, "processes")


def run(args: Namespace) -> int:
    from data_pipeline.prepare.verify import verify
    from sleepmami_jax.run.progress import counted

    with counted("verify") as progress:
        problems = verify(args.shards, workers=args.workers, progress=progress)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{args.shards}: every record and checksum is as the manifest says")
    return 1 if problems else 0
