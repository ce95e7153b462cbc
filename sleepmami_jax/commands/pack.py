"""Prepared nights once more, in rows of one size: nothing has to be decoded, and a bucket or 10,000 nights read fast.

sleepmami pack shards --out /disk/packs

A run reads them with `--set data.pack=/disk/packs`.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import workers


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shards", help="a prepared folder, also gs://bucket/folder")
    out = "a folder on a local disk, for packs of any prepared folders; an interrupted one goes on"
    parser.add_argument("--out", type=Path, required=True, help=out)
    workers(parser)


def run(args: Namespace) -> int:
    from sleepmami_jax.data.packing import pack_folder
    from sleepmami_jax.run.progress import counted

    with counted("pack") as progress:
        pack = pack_folder(args.shards, args.out, args.workers, progress)
    size = pack.layout.rows * pack.layout.row_bytes / 1e9
    print(f"{pack.layout.rows} epochs, {size:.3g} GB, in {pack.folder}; runs read them with data.pack={args.out}")
    return 0
