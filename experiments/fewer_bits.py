"""What storing the bundled model's matrices in fewer bits costs: the ONNX form on nights that somebody scored.

    SLEEPMAMI_REAL_DATA=... python -m experiments.fewer_bits --out experiments/results/fewer_bits.txt

Stages by Cohen's kappa, of simulated nights of people that the model has not met and of one night of a person
(ucddb018, from its one EEG), and the share of epochs whose stage is another than that of float32. Needs the extra
`onnx`. A minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from data_pipeline.load import load_night
from data_pipeline.night import STAGES, Night
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax.data.arrays import night_signals
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.folder import BUNDLED, load_model
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.twin.onnx import write_onnx
from sleepmami_jax.twin.parity import Signals, random_night

from .real_nights import read_ucddb

WEIGHTS = ("float32", "bfloat16", "int8")
SEED = 4711
"""Of the simulated people; the bundled model's have others."""


def run(psg: Path, nights: int) -> str:
    """The table, as text."""
    folder = load_model(BUNDLED)
    slots = model_slots(folder.config)
    cases = {"noise": random_night(slots, 4)}

    def signals(night: Night) -> Signals:
        (arrays,) = night_signals(night, slots, night.n_epochs)
        return {m: (arrays[m]["signal"], arrays[m]["usable"]) for m in (modality.value for modality in slots)}

    with tempfile.TemporaryDirectory() as place:
        out, said = Path(place), {}
        made = simulate_cohort(out / "recordings", nights, seed=SEED, hours=(5.0, 7.0))
        groups = {f"{nights} simulated nights": [(signals(load_night(path)), _truth(path)) for path in made]}
        person = read_ucddb(psg)
        groups["ucddb018"] = [(signals(person.night), person.stages)]
        for weights in WEIGHTS:
            write_onnx(folder, out / weights, weights, cases)
            model = _load(out / weights)
            for group, of_group in groups.items():
                said[weights, group] = [_stages(model, arrays) for arrays, _ in of_group]
    lines = [f"{'':24}{'weights':>10}{'kappa':>8}{'epochs that are another stage than by float32':>48}"]
    for group, of_group in groups.items():
        for weights in WEIGHTS:
            found, plain = said[weights, group], said["float32", group]
            kappa = staging_metrics([stages for _, stages in of_group], found)["kappa"]
            other = np.mean(np.concatenate(found) != np.concatenate(plain))
            lines.append(f"{group:24}{weights:>10}{kappa:>8.3f}{other:>48.2%}")
    return "\n".join([*lines, f"model {folder.digest()[:12]}, trained on simulated nights only", ""])


def _truth(path: Path) -> np.ndarray:
    truth = json.loads((path.parent / "truth" / f"{path.stem}.json").read_text(encoding="utf-8"))
    return np.array([STAGES.index(stage) for stage in truth["stages"]], np.int8)


def _load(folder: Path):
    import sleepmami_onnx

    return sleepmami_onnx.load(folder)


def _stages(model, arrays: Signals) -> np.ndarray:
    """(E,) codes, -1 where nothing is usable."""
    tokens, ok = model.micro(arrays)
    return np.where(ok.any(-1), model.macro(tokens, ok)["stages"].argmax(-1), -1).astype(np.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", type=int, default=8)
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    if "SLEEPMAMI_REAL_DATA" not in os.environ:
        parser.error("SLEEPMAMI_REAL_DATA names no folder of real recordings; see `experiments/people.py`")
    table = run(Path(os.environ["SLEEPMAMI_REAL_DATA"]), options.nights)
    print(table, end="")
    if options.out:
        options.out.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
