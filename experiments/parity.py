"""How far the PyTorch twin is from the model at the sizes that are trained on accelerators, of which no weights exist.

    python -m experiments.parity small --out experiments/results/parity_small.md
    python -m experiments.parity base --out experiments/results/parity_base.md

Weights are random: those that training begins with, changed a little, so that no bias is 0 and no gain 1. Nights,
limit and table are those of every export (`parity.md`); that of the bundled model is what `sleepmami export bundled
--to torch` writes. Some minutes on two cores, most of them compiling. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.costs.sizes import size
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.twin.folder import write_twin


def random_folder(name: str) -> ModelFolder:
    """A model of a size of `costs.sizes`, with heads of all tasks and random weights."""
    config, tasks = size(name), tuple(task for task in TASKS if task.kind is not TaskKind.MEASURED)
    rng, params = np.random.default_rng(0), {}
    for key, value in create(config, 0, tasks=tasks)[1].items():
        noise = rng.standard_normal(value.shape, np.float32)
        params[key] = np.asarray(value) * (1 + 0.1 * noise) + 0.02 * noise
    return ModelFolder(config, params, tasks, {task.name: 0.5 for task in tasks if task.kind is TaskKind.EVENTS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_twin(random_folder(arguments.size), Path(folder) / "twin")
        table = (Path(folder) / "twin" / "parity.md").read_text(encoding="utf-8")
    said = f"Of a model of the size `{arguments.size}` with random weights: `python -m experiments.parity`.\n\n"
    title, rest = table.split("\n\n", 1)
    arguments.out.write_text(f"{title}\n\n{said}{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
