"""Stages, events, indices and a report of a recording.

sleepmami score night.edf --out night
sleepmami score night.edf --model demo/model --out night

Of several recordings one that cannot be scored is named, the others are scored, and the exit status is 1.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from sleepmami_jax.commands import RESEARCH_USE
from sleepmami_jax.commands.arguments import loaded, model, montage


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("recordings", type=Path, nargs="+", metavar="NIGHT.edf", help="recordings")
    model(parser)
    add("--out", type=Path, required=True, help="a folder; one below it for each of several recordings")
    montage(parser)
    add("--scoring", type=Path, nargs="*", default=[], help="a human's scoring, to compare with")
    add("--calibrate", type=Path, help="a human's scoring of some epochs, to put the stages of this night right by")
    add("--rules", choices=("adult", "child"), help="whose breathing; by age, of an adult where that is unknown")


def run(args: Namespace) -> int:
    from data_pipeline.night import RecordingError

    several = len(args.recordings) > 1
    if several and (args.scoring or args.calibrate):
        raise ValueError("--scoring and --calibrate belong to one recording; score one at a time to use them")
    scorer = loaded(args)
    refused = []
    for recording, name in zip(args.recordings, _names(args.recordings), strict=True):
        out = args.out / name if several else args.out
        try:
            how = {"montage": args.montage, "calibrate": args.calibrate, "rules": args.rules}
            scores = scorer.score(recording, args.scoring, out=out, **how)
        except RecordingError as error:
            if not several:
                raise
            print(f"sleepmami: {error}", file=sys.stderr)
            refused.append(recording.name)
            continue
        for warning in scores.warnings:
            print(f"{recording.name}: {warning}", file=sys.stderr)
        if scores.missing:
            print(f"{recording.name}: not in this recording: {', '.join(scores.missing)}")
        if a := scores.agreement.get("stages"):
            kappa = "not defined" if a["kappa"] is None else f"{a['kappa']:z.2f}"
            agreement = f"kappa {kappa}, accuracy {a['accuracy']:.2f}, {a['n_epochs']} epochs"
            print(f"{recording.name}: stages against the scoring given: {agreement}")
        print(
            f"{recording.name}: {out}/report.html, stages.csv, events.csv, rejected.csv, summary.json, annotations.edf"
        )
    if refused:
        n = len(args.recordings)
        print(f"scored {n - len(refused)} of {n} recordings; not {', '.join(refused)}", file=sys.stderr)
    print(RESEARCH_USE)
    return 1 if refused else 0


def _names(recordings: Sequence[Path]) -> list[str]:
    """A folder's name for each: its file's, with a number after it where another has it too."""
    taken: set[str] = set()
    names = []
    for recording in recordings:
        numbered = (f"{recording.stem}-{number}" for number in count(2))
        name = next(name for name in chain([recording.stem], numbered) if name.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names
