"""How near simulated nights are to people: one EEG, statistic by statistic and stage by stage.

    SLEEPMAMI_REAL_DATA=FOLDER python -m experiments.simulated_gap --nights 40 --out gap.txt

A row is a statistic in a stage: the median over people and the 5–95 % range, simulated and real. It is marked where
the real median lies outside the simulated range; the last line counts the marks. `--variety` is the simulator's: 0
makes people alike, 1 as varied as they are made by default.

People, all from `FOLDER`, which holds `dreams_spindles/`, `ucddb018/` and `sleep_edf_bands.npz`:
- the central EEG of four: DREAMS excerpts 1, 2 and 4 (30 min each; 3 is sampled at 50 Hz) and ucddb018, a whole night,
  whose unit nobody knows: 100 uV is assumed, so its levels are as right as that. REM is of ucddb018 alone;
- band powers of five (ten nights of Sleep-EDF): Fpz-Cz beside the simulated F4-C4, and Pz-Oz, for which we make no
  neighbour, beside O2-M1. A reference farther away lifts all stages about alike (assumed), so the level is compared
  in N2 alone, and that of other stages over it.
So few people make a rough ruler: what passes is not proven right, and a mark where n is 1 may be that person's own.

Simulated nights are written as EDF and read like any recording, of both laboratories in turn, a person a night; what
the quality of a second says of a loose electrode counts for both sides. Spindles: simulated ones are all that were
made, real ones those that expert 1 of DREAMS saw.

Four CPU minutes or five for 40 nights, half of that on two quiet cores. Measured: `results/simulated_gap.txt`; with
variety 0 and 12 nights, `results/simulated_gap_plain.txt`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from data_pipeline.load import open_night
from data_pipeline.night import EPOCH_S, STAGES, Channel, Event, EventKind, Quality
from data_pipeline.signals.channel import whole
from data_pipeline.simulate.cohort import SECOND_NIGHTS, night_id, simulate_night
from data_pipeline.simulate.sites import SITES

from .eeg_statistics import (
    LEAST_EPOCHS,
    Statistics,
    drift,
    eeg_statistics,
    epoch_band_db,
    second_densities,
)
from .real_eeg import UCDDB_UV
from .real_nights import SCORED_S, EegNight, read_dreams, read_ucddb

HOURS = (6.0, 8.0)
CENTRAL = ("C4", "C3")  # the first that a night has
DERIVATIONS = {"Fpz-Cz": ("F4", "C4"), "Pz-Oz": ("O2",)}
"""Sleep-EDF's, and the nearest that we make: a channel against the mastoid, or the difference of two that share it."""
SLEEP_EDF_BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 50)}
OUTER = (5, 95)  # percentiles over people

Group = dict[str, list[Statistics]]
"""Statistics of every person, by what they were read from: "central EEG", "Fpz-Cz", "Pz-Oz"."""


def made_people(nights: int, variety: float, hours: tuple[float, float] = HOURS, seed: int = 0) -> Group:
    """Statistics of simulated people, a night each, in as many processes as there are cores."""
    numbers = [n for n in range(2 * nights) if n % 10 not in SECOND_NIGHTS][:nights]
    sites = sorted(SITES)
    requests = [
        {"seed": seed, "site": sites[i % len(sites)], "index": n, "hours": list(hours), "variety": variety}
        for i, n in enumerate(numbers)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(nights, os.cpu_count() or 1), mp_context=context) as pool:
        people = list(pool.map(made_person, requests))
    return {group: [p[group] for p in people if group in p] for group in ("central EEG", *DERIVATIONS)}


def made_person(request: dict) -> dict[str, Statistics]:
    """Statistics of one simulated night, by group; a group whose electrode it lacks is left out."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        out = Path(folder)
        (out / "truth").mkdir()
        path = simulate_night(out, request)
        truth = json.loads((out / "truth" / f"{night_id(request)}.json").read_text())
        stages = np.array([STAGES.index(stage) for stage in truth["stages"]], np.int8)
        wanted = {*CENTRAL, *(slot for slots in DERIVATIONS.values() for slot in slots)}
        recorded = [c for c in open_night(path).channels if c.derivation.slot in wanted]
        channels = {channel.slot: channel for channel in whole(recorded)}
    marks = [Event(EventKind.SPINDLE, e["onset_s"], e["duration_s"]) for e in truth["events"] if e["kind"] == "spindle"]
    groups = {}
    central = next((channels[slot] for slot in CENTRAL if slot in channels), None)
    if central is not None:
        groups["central EEG"] = eeg_statistics(central.samples, stages, usable_epochs(central), marks)
    for derivation, slots in DERIVATIONS.items():
        parts = [channels[slot] for slot in slots if slot in channels]
        if len(parts) == len(slots):
            samples = parts[0].samples - sum(part.samples for part in parts[1:])
            density = second_densities(samples[: len(stages) * EPOCH_S * parts[0].rate_hz])
            powers = {name: epoch_band_db(density, hz) for name, hz in SLEEP_EDF_BANDS.items()}
            usable = np.logical_and.reduce([usable_epochs(part) for part in parts])
            groups[derivation] = band_statistics(powers, stages, usable)
    return groups


def usable_epochs(channel: Channel) -> np.ndarray:
    """(E,) bool: epochs without a second that something is wrong with."""
    good = channel.quality == Quality.GOOD
    return good[: len(good) // EPOCH_S * EPOCH_S].reshape(-1, EPOCH_S).all(1)


def band_statistics(powers: dict[str, np.ndarray], stages: np.ndarray, usable: np.ndarray) -> Statistics:
    """Level and drift of band powers (E,) dB in every stage that has `LEAST_EPOCHS`; see this file's docstring."""
    found: Statistics = {}
    places = {stage: np.flatnonzero((stages == code) & usable) for code, stage in enumerate(STAGES)}
    places = {stage: at for stage, at in places.items() if len(at) >= LEAST_EPOCHS}
    levels = {stage: {name: float(np.median(p[at])) for name, p in powers.items()} for stage, at in places.items()}
    for stage, level in levels.items():
        if stage == "N2":
            found |= {(f"{name}, dB", stage): value for name, value in level.items()}
        elif "N2" in levels:
            found |= {(f"{name} over N2, dB", stage): value - levels["N2"][name] for name, value in level.items()}
        found |= {(name, stage): value for name, value in drift(powers, places[stage]).items()}
    return found


def real_people(psg: Path) -> Group:
    """Statistics of people: see the docstring of this file."""
    dreams = [r for r in read_dreams(psg) if r.night.channels[0].source_rate_hz >= 100]
    central = [_statistics(r, 1.0) for r in dreams] + [_statistics(read_ucddb(psg), UCDDB_UV)]
    nights = np.load(psg / "sleep_edf_bands.npz")
    names = sorted({key.removesuffix("_stage") for key in nights.files if key.endswith("_stage")})
    groups: Group = {"central EEG": central}
    for place, derivation in enumerate(DERIVATIONS):
        people: dict[str, list[Statistics]] = {}
        for name in names:
            db = 10 * np.log10(nights[f"{name}_power"][:, place])
            powers = dict(zip(SLEEP_EDF_BANDS, db.T, strict=True))
            stages = nights[f"{name}_stage"]
            of_night = band_statistics(powers, stages, np.isfinite(db).all(1))
            people.setdefault(name[:5], []).append(of_night)  # SC400: subject; the sixth letter counts the nights
        groups[derivation] = [_mean_of(two) for two in people.values()]
    return groups


def _statistics(recording: EegNight, uv_per_unit: float) -> Statistics:
    expert = "expert 1"
    marks = [e for e in recording.spindles.get(expert, []) if e.end_s < SCORED_S[expert]]
    usable = usable_epochs(recording.night.channels[0])
    return eeg_statistics(recording.eeg * uv_per_unit, recording.stages, usable, marks)


def _mean_of(nights: Sequence[Statistics]) -> Statistics:
    keys = {key for night in nights for key in night}
    return {key: float(np.mean([night[key] for night in nights if key in night])) for key in keys}


@dataclass(frozen=True)
class Row:
    """One statistic in one stage: (median, 5 %, 95 %) over simulated people and over real ones, and how many."""

    group: str
    name: str
    stage: str
    made: tuple[float, float, float]
    real: tuple[float, float, float]
    n: tuple[int, int]

    @property
    def mark(self) -> str:
        """Where the real median lies outside the simulated range: "people above" or "people below"; else ""."""
        if self.real[0] > self.made[2]:
            return "people above"
        return "people below" if self.real[0] < self.made[1] else ""


def rows(made: Group, real: Group) -> list[Row]:
    """Of every statistic that both sides have."""
    table = []
    for group, people in made.items():
        keys = dict.fromkeys(key for person in people for key in person)
        order = {name: place for place, name in enumerate(dict.fromkeys(name for name, _ in keys))}
        stages = (*STAGES, "any")
        for name, stage in sorted(keys, key=lambda key: (order[key[0]], stages.index(key[1]))):
            sides = [[p[name, stage] for p in side[group] if (name, stage) in p] for side in (made, real)]
            if all(sides):
                a, b = (_range(values) for values in sides)
                table.append(Row(group, name, stage, a, b, (len(sides[0]), len(sides[1]))))
    return table


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return tuple(float(np.percentile(values, q)) for q in (50, *OUTER))


def text(table: Iterable[Row], heading: str) -> str:
    """The table for a reader."""
    lines, group = [heading], ""
    for row in table:
        if row.group != group:
            group = row.group
            lines += ["", f"{group:48}{'stage':6}{'simulated':>26}{'n':>4}{'people':>26}{'n':>4}"]
        made, real = (f"{m:.2f} ({low:.2f}..{high:.2f})" for m, low, high in (row.made, row.real))
        line = f"{row.name:48}{row.stage:6}{made:>26}{row.n[0]:>4}{real:>26}{row.n[1]:>4}  {row.mark}"
        lines.append(line.rstrip())
    counts = []
    for name in dict.fromkeys(row.group for row in table):
        of_group = [row for row in table if row.group == name]
        counts.append(f"{name} {sum(bool(row.mark) for row in of_group)} of {len(of_group)}")
    marked = sum(bool(row.mark) for row in table)
    lines += ["", f"people's median outside the simulated range: {', '.join(counts)}; {marked} of {len(table)} in all"]
    return "\n".join(lines) + "\n"


def run(psg: Path, nights: int, variety: float, hours: tuple[float, float] = HOURS) -> str:
    """The experiment: the table."""
    table = rows(made_people(nights, variety, hours), real_people(psg))
    heading = f"{nights} simulated nights of as many people, variety {variety:g}: median over people (5..95 %)"
    return text(table, heading)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", type=int, default=40)
    parser.add_argument("--variety", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    if "SLEEPMAMI_REAL_DATA" not in os.environ:
        parser.error("SLEEPMAMI_REAL_DATA names no folder of real recordings; see the docstring of this file")
    result = run(Path(os.environ["SLEEPMAMI_REAL_DATA"]), options.nights, options.variety)
    print(result, end="")
    if options.out:
        options.out.write_text(result)


if __name__ == "__main__":
    main()
