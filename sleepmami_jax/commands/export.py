"""A finished run's model as a folder of its own, with a card.

sleepmami export --run runs/finetune --out model
sleepmami export --run runs/finetune --out model --half --results metrics.json
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
    add("--run", dest="run_folder", type=Path, required=True, help="the workdir of a finished run")
    add("--out", type=Path, required=True, help="a new folder")
    add("--half", action="store_true", help="matrices in half precision: half the bytes")
    results = "what was measured, for the card: the JSON of `sleepmami evaluate`, or a text in Markdown (.md)"
    add("--results", type=Path, metavar="FILE", help=results)


def run(args: Namespace) -> int:
    from dataclasses import replace

    from sleepmami_jax.export.folder import load_model, save_model

    folder = load_model(args.run_folder / "model")
    if args.results:
        folder = replace(folder, card={**folder.card, "results": _results(args.results, folder)})
    save_model(folder.halved() if args.half else folder, args.out)
    print(f"model folder: {args.out}")
    return 0


def _results(file: Path, folder: ModelFolder) -> str:
    """The file as Markdown. Raises ValueError if it is neither of what `--results` takes."""
    from sleepmami_jax.evaluation.table import metrics_table

    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    try:
        metrics = json.loads(text)
        nights = f"{metrics['n_nights']} nights of {metrics['n_subjects']} people, split {metrics['split']}"
        return f"{nights}, cohorts {', '.join(metrics['cohorts'])}:\n\n```\n{metrics_table(metrics, folder.tasks)}\n```"
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: expected the JSON of `sleepmami evaluate`, or a .md file ({error!r})") from error
