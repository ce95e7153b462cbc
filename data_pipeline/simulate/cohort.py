"""A cohort of simulated nights: who sleeps where, in how many processes, and picking up where it stopped."""

import datetime
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from data_pipeline.lock import LOCK, alone_in
from data_pipeline.night import BREATHING_EVENTS, RecordingError
from data_pipeline.processes import deaf_to_interrupts, end_with_parent
from data_pipeline.simulate.artefacts import draw_artefacts
from data_pipeline.simulate.events import draw_events
from data_pipeline.simulate.hypnogram import draw_hypnogram
from data_pipeline.simulate.laboratory import draw_site
from data_pipeline.simulate.person import Person, draw_person
from data_pipeline.simulate.recording import record
from data_pipeline.simulate.sites import EVENT_WORDS, SITES
from data_pipeline.simulate.write import file_sha256, write_night, write_table
from data_pipeline.whole_files import HALF

HOURS_RANGE = (0.5, 24.0)
SCORED = ("stages", *sorted(BREATHING_EVENTS), *sorted(EVENT_WORDS.keys() - BREATHING_EVENTS))
"""What our scorers look for in every night, found or not."""
SECOND_NIGHTS = {2: 0, 3: 1}
"""Of ten nights, the third and fourth are second nights of the first and second person: one in four."""


def simulate_cohort(
    out: Path,
    n_nights: int,
    *,
    site: str | None = None,
    seed: int = 0,
    workers: int = 1,
    hours: tuple[float, float] = (6.0, 9.0),
    variety: float = 1.0,
    progress: Callable[[], None] | None = None,
) -> list[Path]:
    """Simulates nights as EDF+ files with annotations, demographics and truth.

    A night depends on (seed, site, its number, hours, variety) alone, so any number of workers writes the same
    bytes and a longer cohort begins with the nights of a shorter one. Nights that are there already are kept.

    >>> simulate_cohort(Path("made"), 2, hours=(0.5, 0.6))
    [PosixPath('made/sim-a-0000.edf'), PosixPath('made/sim-b-0001.edf')]

    Args:
      out: folder to write; new, empty, or left by an earlier call with the same seed, site, hours and variety.
      n_nights: number of nights, at least 1.
      site: "a", "b", or None for both in turn.
      seed: not negative.
      workers: processes; they are spawned, so a script that calls this needs the `__main__` guard.
      hours: shortest and longest time in bed.
      variety: how far people, nights, sensors and recorders lie apart: 0, all alike, to 1, as varied as people.
      progress: called after each night, written or kept.

    Returns:
      Paths of the EDF+ files in order.

    Raises:
      ValueError: an argument outside its range, or another run is filling the folder.
      RecordingError: the folder holds something else, or a night whose files do not match its truth.
    """
    _refuse_arguments(n_nights, site, seed, workers, hours, variety)
    with alone_in(Path(out)):
        return _simulate(Path(out), n_nights, site, seed, workers, hours, variety, progress)


def _simulate(out, n_nights, site, seed, workers, hours, variety, progress) -> list[Path]:
    """`simulate_cohort` in a folder that is this run's alone."""
    alike = {"hours": list(hours), "variety": float(variety)}
    requests = [
        {"seed": seed, "site": site or sorted(SITES)[index % len(SITES)], "index": index, **alike}
        for index in range(n_nights)
    ]
    _refuse_strangers(out, requests)
    (out / "truth").mkdir(parents=True, exist_ok=True)
    waiting = [request for request in requests if not _is_whole(out, request)]
    report = progress or (lambda: None)
    for _ in range(n_nights - len(waiting)):
        report()
    if workers == 1:
        for request in waiting:
            simulate_night(out, request)
            report()
    elif waiting:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context, initializer=end_with_parent)
        with pool:
            with deaf_to_interrupts():
                running = [pool.submit(simulate_night, out, request) for request in waiting]
            for future in as_completed(running):
                future.result()
                report()
    people = [(request, person_of(request)) for request in requests]
    write_table(
        out / "demographics.csv",
        ("night_id", "subject_id", "site", "cohort", "age_years", "sex", "bmi", "scored"),
        [
            (night_id(r), p.subject_id, r["site"], "simulated", p.age_years, p.sex, p.bmi, " ".join(SCORED))
            for r, p in people
        ],
    )
    return [out / f"{night_id(request)}.edf" for request in requests]


def night_id(request: dict) -> str:
    """What a night is called, by its site and its number."""
    return f"sim-{request['site']}-{request['index']:04d}"


def person_of(request: dict) -> Person:
    """The person of a night: the same for a first and a second night."""
    index = request["index"]
    first = index - index % 10 + SECOND_NIGHTS.get(index % 10, index % 10)
    rng = np.random.default_rng([request["seed"], ord(request["site"]), first, 1])
    name = f"sim-{request['site']}-{request['seed']}-person-{first:04d}"  # cohorts of two seeds share nobody
    return draw_person(rng, name, variety=request["variety"])


def simulate_night(out: Path, request: dict) -> Path:
    """Simulates and writes one night; `request` has seed, site, index, hours and variety. Returns the EDF+ path."""
    rng = np.random.default_rng([request["seed"], ord(request["site"]), request["index"], 0])
    person, variety = person_of(request), request["variety"]
    stages = draw_hypnogram(rng, person, round(rng.uniform(*request["hours"]) * 120), variety=variety)
    site = draw_site(rng, SITES[request["site"]], person, stages, variety=variety)
    events = draw_events(rng, person, stages, variety=variety, cpap_from_s=site.cpap_from_s)
    artefacts = draw_artefacts(rng, stages, variety=variety)
    start = datetime.time(21 + int(rng.integers(0, 3)), int(rng.integers(0, 60)), int(rng.integers(0, 60)))
    signals = record(rng, person, stages, events, artefacts, site, variety=variety)
    return write_night(out, night_id(request), request, person, stages, events, artefacts, site, signals, start)


def _refuse_arguments(
    n_nights: int, site: str | None, seed: int, workers: int, hours: tuple[float, float], variety: float
) -> None:
    for name, value, lowest in (("nights", n_nights, 1), ("workers", workers, 1), ("seed", seed, 0)):
        if value < lowest:
            raise ValueError(f"{name} is {value}; expected at least {lowest}")
    if site is not None and site not in SITES:
        raise ValueError(f"site is {site!r}; expected one of {sorted(SITES)}, or None for both in turn")
    if not HOURS_RANGE[0] <= hours[0] <= hours[1] <= HOURS_RANGE[1]:
        raise ValueError(f"hours is {hours}; expected (shortest, longest) within {HOURS_RANGE}")
    if not 0 <= variety <= 1:
        raise ValueError(f"variety is {variety}; expected 0, all alike, to 1, as varied as people")


def _refuse_strangers(out: Path, requests: list[dict]) -> None:
    if not out.exists():
        return
    names = {"demographics.csv", "truth", LOCK}
    for request in requests:
        stem = night_id(request)
        names |= {f"{stem}.edf", f"{stem}.json"}
        if not SITES[request["site"]].embedded:
            names.add(f"{stem}.csv")
    for half in out.rglob(f"*{HALF}"):
        half.unlink()  # of a run that was killed
    strangers = sorted(path.name for path in [*out.iterdir(), *(out / "truth").glob("*")] if path.name not in names)
    if strangers:
        problem = f"holds {len(strangers)} file(s) that are not of this cohort, e.g. {strangers[0]}"
        expected = "a new or empty folder, or the same cohort begun earlier"
        raise RecordingError(out, f"{problem}; expected {expected}: choose another folder")


def _is_whole(out: Path, request: dict) -> bool:
    """Whether a night is there already, exactly as this request would make it."""
    path = out / "truth" / f"{night_id(request)}.json"
    if not path.exists():
        return False
    truth = json.loads(path.read_text())
    if truth["request"] != request:
        problem = f"made by {truth['request']}, but this call asks for {request}; choose another folder"
        raise RecordingError(path, problem)
    for name, digest in truth["files"].items():
        if not (out / name).exists() or file_sha256(out / name) != digest:
            raise RecordingError(out / name, f"missing or changed since it was made; delete {path} to make it again")
    return True
