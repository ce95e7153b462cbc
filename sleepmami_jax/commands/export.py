"""Copy a finished run's model folder.

sleepmami export --run runs/finetune --out model
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", dest="run_folder", type=Path, required=True, help="the workdir of a finished run")
    add("--out", type=Path, required=True, help="a new folder")


def run(args: Namespace) -> int:
    from sleepmami_jax.export.folder import load_model, save_model

    save_model(load_model(args.run_folder / "model"), args.out)
    print(f"model folder: {args.out}")
    return 0
