"""Stages, events, indices and a report of a recording, or of many.

sleepmami score night.edf --out night
sleepmami score night.edf --model demo/model --out night
sleepmami score recordings --out scores --workers 2

Several recordings, a folder, or a list of them (a .txt, a path a line) have a folder each below --out, one table
(nights.csv) and one page (index.html). A recording that cannot be scored is named, the others are scored, and the
exit status is 1. The same command goes on where it was stopped; docs/many.md tells more.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands import RESEARCH_USE
from sleepmami_jax.commands.arguments import loaded, model, montage

_SHOWN = 20
"""Refused recordings that are named at the end; the table has all."""


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("recordings", type=Path, nargs="+", metavar="NIGHT", help="recordings, folders of them, or lists (.txt)")
    model(parser)
    add("--out", type=Path, required=True, help="a folder; one below it for each of several recordings")
    montage(parser)
    add("--scoring", type=Path, nargs="*", default=[], help="a human's scoring, to compare with")
    add("--calibrate", type=Path, help="a human's scoring of some epochs, to put the stages of this night right by")
    add("--rules", choices=("adult", "child"), help="whose breathing; by age, of an adult where that is unknown")
    add = parser.add_argument_group("many recordings", "scoring beside a recording is found by its name").add_argument
    add("--workers", type=int, default=1, help="processes (1), of about 1 GB each; the bytes do not depend on it")
    add("--cohort", default="generic", help="how recordings are found: a data set that is known, or my_lab.py")


def run(args: Namespace) -> int:
    from sleepmami_jax.many.found import LIST

    given = args.recordings[0]
    if len(args.recordings) > 1 or given.is_dir() or given.suffix.lower() == LIST:
        if args.scoring or args.calibrate:
            raise ValueError("--scoring and --calibrate belong to one recording; score one at a time to use them")
        return _many(args)
    how = {"montage": args.montage, "calibrate": args.calibrate, "rules": args.rules}
    scores = loaded(args).score(given, args.scoring, out=args.out, **how)
    for warning in scores.warnings:
        print(f"{given.name}: {warning}", file=sys.stderr)
    if scores.missing:
        print(f"{given.name}: not in this recording: {', '.join(scores.missing)}")
    if a := scores.agreement.get("stages"):
        kappa = "not defined" if a["kappa"] is None else f"{a['kappa']:z.2f}"
        agreement = f"kappa {kappa}, accuracy {a['accuracy']:.2f}, {a['n_epochs']} epochs"
        print(f"{given.name}: stages against the scoring given: {agreement}")
    print(f"{given.name}: {args.out}/report.html, stages.csv, events.csv, rejected.csv, summary.json, annotations.edf")
    print(RESEARCH_USE)
    return 0


def _many(args: Namespace) -> int:
    from data_pipeline.montage.file import read_montage
    from sleepmami_jax.many.run import score_many
    from sleepmami_jax.run.progress import counted

    if args.workers < 1:
        raise ValueError(f"--workers {args.workers}: expected at least 1")
    lab = read_montage(args.montage) if args.montage else None
    options = {"cohort": args.cohort, "workers": args.workers, "montage": lab, "rules": args.rules}
    with counted("scoring") as progress:
        done = score_many(args.recordings, args.out, model=args.model, progress=progress, **options)
    n = len(done.scored) + len(done.refused)
    print(f"scored {len(done.scored)} of {n} recordings, {done.kept} of them before")
    print(f"{args.out}/{', '.join(done.written)}")
    for rejection in done.refused[:_SHOWN]:
        named = rejection.reason.startswith(f"{rejection.file}: ")  # as readers of files say it
        why = rejection.reason if named else f"{rejection.file}: {rejection.reason}"
        print(f"sleepmami: not scored: {why}", file=sys.stderr)
    if len(done.refused) > _SHOWN:
        print(f"sleepmami: and {len(done.refused) - _SHOWN} more, in {args.out}/nights.csv", file=sys.stderr)
    print(RESEARCH_USE)
    return 1 if done.refused else 0
