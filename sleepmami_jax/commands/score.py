"""Stages, events, indices and a report of a recording.

sleepmami score night.edf --out night
sleepmami score night.edf --model demo/model --out night
"""

import sys
from argparse import ArgumentParser, Namespace
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


def run(args: Namespace) -> int:
    several = len(args.recordings) > 1
    if several and (args.scoring or args.calibrate):
        raise ValueError("--scoring and --calibrate belong to one recording; score one at a time to use them")
    names = [recording.stem for recording in args.recordings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{len(names)} recordings, but {twice[0]!r} is the name of more than one; rename them")
    scorer = loaded(args)
    for recording in args.recordings:
        out = args.out / recording.stem if several else args.out
        scores = scorer.score(recording, args.scoring, out=out, montage=args.montage, calibrate=args.calibrate)
        for warning in scores.warnings:
            print(f"{recording.name}: {warning}", file=sys.stderr)
        if scores.missing:
            print(f"{recording.name}: not in this recording: {', '.join(scores.missing)}")
        if a := scores.agreement.get("stages"):
            kappa = "not defined" if a["kappa"] is None else f"{a['kappa']:z.2f}"
            agreement = f"kappa {kappa}, accuracy {a['accuracy']:.2f}, {a['n_epochs']} epochs"
            print(f"{recording.name}: stages against the scoring given: {agreement}")
        print(f"{recording.name}: {out}/report.html, stages.csv, events.csv, summary.json, annotations.edf")
    print(RESEARCH_USE)
    return 0
