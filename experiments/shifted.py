"""Does the model know when it is wrong? Nights with one thing put wrong, on simulated nights and on a person's.

    SLEEPMAMI_REAL_DATA=FOLDER python -m experiments.shifted --nights 20 --out shifted.txt

Simulated nights that no model was trained on are scored as they are and with each of the shifts of
`sleepmami_jax.trust.shifts` that they allow (60 or so: gain, sign, exchanged and wrong sensors, noise, mains, filters,
drift, cut, coarse, still, an oximeter that is stuck, late or none, speed, loops, another order, an animal); so is the
one EEG of ucddb018. A shift *matters* where it costs more than 0.1 of kappa, or moves the AHI by more than 5 an hour.
It is *said* where stages or breathing are called not reliable, or where the reasons name something unusual; *named*
where a reason names a channel that was changed (where all were, any reason counts). Both are counted among the nights
in which it matters; below stand the false alarms, on nights as they are.

Then what the chances of being wrong are worth, on the nights as they are, on all of them, and on people (ucddb018 and
DREAMS 1-4): expected calibration error, AUROC, and how many epochs are wrong among those of least risk. Last, what
twenty scored epochs, evenly spaced, win on the others of the same night (`sleepmami_jax.trust.repair`).

Two seconds a case on two quiet CPU cores: eleven minutes for 4 nights and the people. Measured, with `--nights 4`:
`results/shifted.txt`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipeline.load import load_night
from data_pipeline.night import Night, Scoring
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax.evaluation.reference import Case, cases_of
from sleepmami_jax.metrics.calibration import calibration_metrics
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.trust.judge import Reliability, judge_looks
from sleepmami_jax.trust.measures import KAPPA_WRONG
from sleepmami_jax.trust.repair import repair
from sleepmami_jax.trust.shifts import SHIFTS, Shift

from .real_nights import EegNight, read_dreams, read_ucddb

SEED = 9177
"""Of the simulated people; the bundled model's have others."""
HOURS = (4.0, 6.0)
KAPPA_LOST, AHI_MOVED = 0.1, 5.0
GIVEN = 20
"""Scored epochs that a night is put right by."""
KAPPAS = (-1.0, 0.3, 0.6, 0.8, 1.01)


@dataclass(frozen=True)
class Judged:
    """A case and what is said of it.

    Attributes:
      moved: whether the shift matters: kappa or AHI against the same night as it is.
    """

    case: Case
    reliability: Reliability
    moved: bool

    @property
    def said(self) -> bool:
        reliable = self.reliability.reliable
        return bool(self.reliability.reasons) or not all(reliable.get(t, True) for t in ("stages", "breathing"))

    @property
    def named(self) -> bool:
        if self.case.changed == {look.slot for look in self.case.looks}:
            return bool(self.reliability.reasons)
        return any(set(reason.partition(":")[0].split(", ")) & self.case.changed for reason in self.reliability.reasons)

    @property
    def wrong_epochs(self) -> tuple[np.ndarray, np.ndarray]:
        """Risk and whether it is wrong, of each epoch that has both stages."""
        known = (self.case.human_stages >= 0) & self.case.prediction.scorable
        wrong = self.case.human_stages != self.case.prediction.stages
        return self.reliability.epoch_risk[known], wrong[known]


def judged_night(model: Pretrained, night: Night, shifts: Sequence[Shift], seed: int) -> list[Judged]:
    """The night as it is, then with each of the shifts that it allows."""
    possible = [shift for shift in shifts if shift.fits(night)]
    judged: list[Judged] = []
    for case in cases_of(model, night, possible, seed):
        prediction = case.prediction
        reliability = judge_looks(
            model.folder.reference,
            prediction.tasks,
            case.looks,
            case.tokens,
            prediction.stage_probs,
            prediction.scorable,
        )
        clean = judged[0].case if judged else case
        judged.append(Judged(case, reliability, _moved(clean, case)))
    return judged


def _moved(clean: Case, case: Case) -> bool:
    lost = (clean.kappa or 0.0) - (case.kappa or 0.0)
    was, is_now = (c.indices.get("breathing", (None, None))[0] for c in (clean, case))
    by = abs(is_now - was) if was is not None and is_now is not None else 0.0
    return lost > KAPPA_LOST or by > AHI_MOVED


def is_staged(night: Night) -> bool:
    """Whether somebody scored its stages, in the file itself: of simulated recordings not everybody's are."""
    return night.scoring is not None and "stages" in night.scoring.scored


def with_stages(recording: EegNight) -> Night:
    """Its night, scored by the people who scored its stages."""
    return replace(recording.night, scoring=Scoring(recording.stages, (), frozenset({"stages"})))


def run(model: Pretrained, psg: Path | None, nights: int) -> str:
    """The table, as text."""
    groups: dict[str, list[list[Judged]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        made = simulate_cohort(Path(place), 3 * nights, seed=SEED, hours=HOURS)
        scored = (night for night in map(load_night, made) if is_staged(night))
        for seed, night in enumerate(tqdm(islice(scored, nights), desc="simulated nights", total=nights)):
            groups["simulated"].append(judged_night(model, night, SHIFTS, seed))
    if psg is not None:
        groups["ucddb018"].append(judged_night(model, with_stages(read_ucddb(psg)), SHIFTS, 0))
        groups["people"] = [judged_night(model, with_stages(excerpt), (), 0) for excerpt in read_dreams(psg)]
        groups["people"] += [group[:1] for group in groups["ucddb018"]]
    return table(groups, model)


def table(groups: dict[str, list[list[Judged]]], model: Pretrained) -> str:
    lines = [f"{'shift':52}{'nights':>8}{'matters':>9}{'said':>7}{'named':>7}"]
    for name in ("simulated", "ucddb018"):
        shifted = [judged for group in groups.get(name, []) for judged in group[1:]]
        if not shifted:
            continue
        lines.append(name)
        by_shift: dict[str, list[Judged]] = defaultdict(list)
        for judged in shifted:
            by_shift[judged.case.shift].append(judged)
        lines += [_row(f"  {shift}", cases) for shift, cases in by_shift.items()]
        lines.append(_row("  all", shifted))
        clean = [group[0] for group in groups[name]]
        lines.append(f"  as they are: {sum(j.said for j in clean)} of {len(clean)} nights with something said")
        for judged in (j for j in clean if j.said):
            kappa, risk = judged.case.kappa, judged.reliability.risk["stages"]
            lines.append(f"    kappa {kappa or 0.0:.2f}, risk {risk:.2f}: {'; '.join(judged.reliability.reasons)}")
    lines += [
        "",
        f"{'chance of being wrong':52}{'n':>8}{'wrong':>9}{'ECE':>7}{'AUROC':>7}{'wrong at 80 % coverage':>24}",
    ]
    for name, cases in (
        ("simulated, epochs as they are", [g[0] for g in groups["simulated"]]),
        ("simulated, epochs of all cases", [j for g in groups["simulated"] for j in g]),
        ("people, epochs as they are", [g[0] for g in groups.get("people", [])]),
        ("ucddb018, epochs of all cases", [j for g in groups.get("ucddb018", []) for j in g]),
    ):
        if cases:
            risk, wrong = (np.concatenate(side) for side in zip(*(j.wrong_epochs for j in cases), strict=True))
            lines.append(_calibration_row(name, risk, wrong))
    for name, cases in (
        (f"simulated, kappa of a night below {KAPPA_WRONG}", [j for g in groups["simulated"] for j in g]),
        ("the same, nights as they are", [g[0] for g in groups["simulated"]]),
    ):
        wrong = np.array([(j.case.kappa or 0.0) < KAPPA_WRONG for j in cases])
        lines.append(_calibration_row(name, np.array([j.reliability.risk["stages"] for j in cases]), wrong))
    lines += [
        "",
        f"{'twenty scored epochs, kappa of the others before':52}{'n':>8}{'changed':>9}{'gain':>7}{'worst':>7}",
    ]
    for name in ("simulated", "ucddb018"):
        lines += _repair_rows(name, [judged.case for group in groups.get(name, []) for judged in group])
    digest = model.folder.digest()[:12]
    return "\n".join([*lines, f"model {digest}, trained on simulated nights only", ""])


def _repair_rows(name: str, cases: Sequence[Case]) -> list[str]:
    """By kappa before: how many cases, in how many something was changed, and what it won."""
    won = []
    for case in cases:
        known = np.flatnonzero((case.human_stages >= 0) & case.prediction.scorable)
        if len(known) < 5 * GIVEN:
            continue
        given = known[np.linspace(0, len(known) - 1, GIVEN).astype(int)]
        codes = np.full(len(case.human_stages), -1)
        codes[given] = case.human_stages[given]
        tokens = case.tokens.get("EEG", (None, None))[0]
        repaired = repair(case.prediction.stage_probs, tokens, codes)
        truth = np.where(codes >= 0, -1, case.human_stages)
        before, after = (
            staging_metrics([truth], [stages])["kappa"]
            for stages in (
                case.prediction.stages,
                np.where(case.prediction.scorable, repaired.probs.argmax(axis=1), -1),
            )
        )
        if before is not None and after is not None:
            won.append((before, after - before, bool(repaired.what)))
    rows = []
    for low, high in pairwise(KAPPAS):
        there = [(gain, changed) for before, gain, changed in won if low <= before < high]
        if there:
            gains, changed = zip(*there, strict=True)
            cells = f"{len(there):>8}{np.mean(changed):>9.0%}{np.mean(gains):>7.2f}{min(gains):>7.2f}"
            rows.append(f"{f'  {name}, {low:g} to {high:g}':52}{cells}")
    lost = sum(gain < -0.01 for _, gain, _ in won)
    return [*rows, f"  {name}: more than 0.01 lost in {lost} of {len(won)}"] if won else []


def _row(name: str, cases: Sequence[Judged]) -> str:
    moved = [judged for judged in cases if judged.moved]
    shares = [f"{np.mean([getattr(j, what) for j in moved]):.0%}" if moved else "–" for what in ("said", "named")]
    return f"{name:52}{len(cases):>8}{len(moved):>9}{shares[0]:>7}{shares[1]:>7}"


def _calibration_row(name: str, risk: np.ndarray, wrong: np.ndarray) -> str:
    m = calibration_metrics(risk, wrong)
    auroc = "–" if m["auroc"] is None else f"{m['auroc']:.2f}"
    return f"{name:52}{m['n']:>8}{m['wrong']:>9.2f}{m['ece']:>7.2f}{auroc:>7}{m['wrong_at_coverage']['0.8']:>24.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="bundled", help="a model folder")
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    psg = os.environ.get("SLEEPMAMI_REAL_DATA")
    if psg is None:
        print("SLEEPMAMI_REAL_DATA names no folder of real recordings: people are left out.")
    text = run(load(options.model), Path(psg) if psg else None, options.nights)
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
