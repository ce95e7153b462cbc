"""What does a model win from a laboratory's recordings without a scoring? Laboratories that do one thing wrong.

    python -m experiments.adapted --out RESULTS.txt

Each fault of the EEG (`sleepmami_jax/trust/shifts.py`) is done to five simulated nights that no model was trained on;
the bundled model is adapted to three of them and measured on the two others. With `SLEEPMAMI_REAL_DATA=FOLDER` also
people: ucddb018 as it is and with each fault, DREAMS 1-4 as they are, adapted to and measured on the same nights, for
there are no others of their laboratories. Twenty minutes on two CPU cores. Measured: `results/adapted.txt`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.load import load_night
from data_pipeline.modalities import Modality
from data_pipeline.night import Night
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax.evaluation.adapt import Adapted, adapt
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.trust.shifts import SHIFTS, Shift

from .real_nights import read_dreams, read_ucddb
from .shifted import HOURS, is_staged, with_stages

SEED = 8100
"""Of the simulated people; the bundled model's, and those of `shifted`, have others."""
GIVEN, MEASURED = 3, 2
"""Nights of a simulated laboratory."""


def done_to(shift: Shift | None, nights: Sequence[Night]) -> list[Night]:
    """The nights with the fault, the same chances in each run."""
    if shift is None:
        return list(nights)
    return [shift.apply(night, np.random.default_rng(place)) for place, night in enumerate(nights)]


def faults(nights: Sequence[Night]) -> Iterator[Shift | None]:
    """None, then each fault that changes the EEG, which stages are read from."""
    yield None
    for shift in SHIFTS:
        if all(shift.fits(night) for night in nights):
            (moved,) = done_to(shift, nights[:1])
            was = {channel.slot: channel.samples for channel in nights[0].channels}
            if any(c.modality is Modality.EEG and c.samples is not was[c.slot] for c in moved.channels):
                yield shift


def measured(model: Pretrained, nights: Sequence[Night]) -> tuple[float | None, float, float]:
    """Kappa of all epochs, the share of them that is wrong, and the mean chance of that by the model."""
    truths, said, risks = [], [], []
    for night in nights:
        prediction, tokens = model.listen(night)
        known = (night.scoring.stages >= 0) & prediction.scorable
        truths.append(np.where(known, night.scoring.stages, -1))
        said.append(prediction.stages)
        risks.append(model.judge(night, prediction, tokens).epoch_risk[known])
    truth, stages = np.concatenate(truths), np.concatenate(said)
    known = truth >= 0
    if not known.any():
        return None, 1.0, 1.0
    wrong = float((stages != truth)[known].mean())
    return staging_metrics([truth], [stages])["kappa"], wrong, float(np.concatenate(risks).mean())


def row(name: str, model: Pretrained, given: Sequence[Night], nights: Sequence[Night]) -> str:
    """A line of the table."""
    before = measured(model, nights)
    if before[0] is None:
        return f"{name:48}{'–':>9}  no usable signal is left"
    adapted: Adapted = adapt(model, given)
    after = measured(Pretrained(adapted.folder), nights) if adapted.what else before
    cells = "".join(
        f"{'–' if k is None else f'{k:.2f}':>9}{wrong:>7.2f}{risk:>7.2f}" for k, wrong, risk in (before, after)
    )
    return f"{name:48}{cells}  {adapted.what.replace('the level and the spread', 'level, spread') or 'nothing'}"


def run(model: Pretrained, psg: Path | None, most: int | None = None) -> str:
    """The table, as text, with the first `most` faults."""
    heading = f"{'':48}{'before':>9}{'wrong':>7}{'risk':>7}{'after':>9}{'wrong':>7}{'risk':>7}  changed"
    lines = [heading]
    with tempfile.TemporaryDirectory() as place:
        made = simulate_cohort(Path(place), 3 * (GIVEN + MEASURED), seed=SEED, hours=HOURS)
        nights = list(islice(filter(is_staged, map(load_night, made)), GIVEN + MEASURED))
    for shift in tqdm(list(islice(faults(nights), most)), desc="simulated laboratories"):
        moved = done_to(shift, nights)
        lines.append(row(f"simulated: {shift.name if shift else 'as it is'}", model, moved[:GIVEN], moved[GIVEN:]))
    if psg is not None:
        dreams = [with_stages(excerpt) for excerpt in read_dreams(psg)]
        lines.append(row("DREAMS 1-4: as they are", model, dreams, dreams))
        night = [with_stages(read_ucddb(psg))]
        for shift in tqdm(list(islice(faults(night), most)), desc="ucddb018"):
            moved = done_to(shift, night)
            lines.append(row(f"ucddb018: {shift.name if shift else 'as it is'}", model, moved, moved))
    return "\n".join([*lines, f"model {model.card['version']}, trained on simulated nights only", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file for the table")
    args = parser.parse_args()
    psg = os.environ.get("SLEEPMAMI_REAL_DATA")
    text = run(load(), Path(psg) if psg else None)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
