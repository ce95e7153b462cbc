"""A finished run's model as a folder of its own, with a card; or any model as a folder for PyTorch or ONNX.

sleepmami export --run runs/finetune --out model
sleepmami export --run runs/finetune --out model --half --results metrics.json
sleepmami export model --to torch --out twin
sleepmami export model --to onnx --out graphs --weights int8

For PyTorch and ONNX it is first seen to say the same: parity.md in that folder.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sleepmami_jax.export.folder import ModelFolder


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a model folder, `bundled`, or owner/name on the hub; instead of --run",
    )
    add("--run", dest="run_folder", type=Path, help="the workdir of a finished run")
    add(
        "--to",
        choices=("torch", "onnx"),
        help="another form than our own; needs `pip install sleepmami[torch]`, or [onnx]",
    )
    add("--weights", choices=("float32", "bfloat16", "int8"), help="how ONNX stores matrices; float32 unless given")
    add("--out", type=Path, required=True, help="a new folder")
    add("--half", action="store_true", help="matrices in half precision: half the bytes")
    results = "what was measured, for the card: the JSON of `sleepmami evaluate`, or a text in Markdown (.md)"
    add("--results", type=Path, metavar="FILE", help=results)


def run(args: Namespace) -> int:
    from dataclasses import replace

    from sleepmami_jax.export.folder import load_model, save_model
    from sleepmami_jax.hub import open_model

    if (args.model is None) == (args.run_folder is None):
        raise ValueError("export: expected a model folder or --run WORKDIR, one of the two")
    if args.weights and args.to != "onnx":
        raise ValueError("export: --weights is for --to onnx; --half makes a model folder smaller")
    folder = open_model(args.model) if args.run_folder is None else load_model(args.run_folder / "model")
    if args.results:
        folder = replace(folder, card={**folder.card, "results": _results(args.results, folder)})
    folder = folder.halved() if args.half else folder
    if args.to == "torch":
        from sleepmami_jax.twin.folder import write_twin
        from sleepmami_jax.twin.parity import largest

        errors = write_twin(folder, args.out)
        print(f"PyTorch folder: {args.out}; float32 differs by {largest(errors):.1e} at most, see parity.md")
    elif args.to == "onnx":
        from sleepmami_jax.twin.onnx import largest, write_onnx

        report = write_onnx(folder, args.out, args.weights or "float32")
        off, size = largest(report["errors"]["JAX"]), sum(report["bytes"][report["weights"]].values())
        print(f"ONNX folder: {args.out}, {size / 1e6:.1f} MB; float32 differs by {off:.1e} at most, see parity.md")
    else:
        save_model(folder, args.out)
        print(f"model folder: {args.out}")
    return 0


def _results(file: Path, folder: ModelFolder) -> str:
    """The file as Markdown. Raises ValueError if it is neither of what `--results` takes."""
    from sleepmami_jax.evaluation.table import card_results

    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    try:
        return card_results(json.loads(text), folder.tasks)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: expected the JSON of `sleepmami evaluate`, or a .md file ({error!r})") from error
