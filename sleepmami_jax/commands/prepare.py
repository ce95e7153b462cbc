"""Turn recordings into shards.

sleepmami prepare recordings --out shards --workers 8

A run that was stopped goes on when the same command is given again. Exit status: 0 finished (what was refused,
and why, is in rejected.jsonl), 1 nothing accepted or the output cannot be written, 130 stopped.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import montage, workers


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="recordings, or folders of them")
    out = "the folder to fill; it belongs to these inputs"
    parser.add_argument("--out", type=Path, required=True, help=out)
    montage(parser)
    parser.add_argument(
        "--cohort",
        default="generic",
        metavar="NAME",
        help="how files, scorings and demographics are found: shhs, mesa, mros, physionet2018, slpdb, sleep_edf, "
        "isruc, kiss, generic, or a Python file of your own (docs/data.md)",
    )
    own = "an experiment file with tasks of your own: the events that they are about are kept too"
    parser.add_argument("--config", type=Path, metavar="FILE", help=own)
    workers(parser)
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on a Ray cluster instead: auto, host:6379 or ray://host:10001; every node needs the ray extra "
        "installed and sees inputs and output under the same paths",
    )
    parser.add_argument(
        "--rehash",
        action="store_true",
        help="read the recordings of finished nights again to see that they are the same, also where size and "
        "times have not changed",
    )


def run(args: Namespace) -> int:
    from data_pipeline.montage.file import read_montage
    from data_pipeline.prepare.run import PrepareConfig, prepare
    from sleepmami_jax.run.progress import counted

    montage = read_montage(args.montage) if args.montage else None
    config = PrepareConfig(kinds=_own_kinds(args.config)) if args.config else None
    try:
        with counted("prepare") as progress:
            summary = prepare(
                args.inputs,
                args.out,
                cohort=args.cohort,
                workers=args.workers,
                config=config,
                montage=montage,
                ray=args.ray,
                rehash=args.rehash,
                progress=progress,
            )
    except KeyboardInterrupt:
        print("stopped: finished nights are kept, the same command goes on from here", file=sys.stderr)
        return 130
    print(summary.table())
    return 0 if summary.nights else 1


def _own_kinds(experiment: Path) -> tuple[str, ...]:
    """Kinds of event of the experiment's tasks that are its own."""
    from data_pipeline.night import EventKind
    from sleepmami_jax.config import load_experiment

    kinds = {kind for task in load_experiment(experiment).tasks for kind in task.kinds}
    return tuple(sorted(kinds - set(EventKind)))
