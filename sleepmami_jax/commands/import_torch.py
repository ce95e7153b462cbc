"""Weights fine-tuned in PyTorch come home: a model folder of them.

sleepmami import-torch tuned --out model

Bit for bit the model that was exported, if nothing was trained.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, help="what `sleepmami export --to torch` wrote, or `model.save` in PyTorch")
    add("--out", type=Path, required=True, help="a new model folder")


def run(args: Namespace) -> int:
    from sleepmami_jax.export.folder import save_model
    from sleepmami_jax.twin.folder import read_twin

    save_model(read_twin(args.folder), args.out)
    print(f"model folder: {args.out}")
    return 0
