"""Turn recordings into shards.

sleepmami prepare recordings --out shards --workers 8

A run that was stopped goes on when the same command is given again. Exit status: 0 finished (what was refused,
and why, is in rejected.jsonl), 1 nothing accepted, the output cannot be written, or with --strict anything to be seen
to, 130 stopped.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import montage, workers


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", type=Path, nargs="+", metavar="INPUT", help="recordings, or folders of them")
    add("--out", type=Path, required=True, help="the folder to fill; it belongs to these inputs")
    montage(parser)
    cohort = """how files, scorings and demographics are found: generic, a data set that docs/data.md lists, or a
        Python file of your own"""
    add("--cohort", default="generic", metavar="NAME", help=cohort)
    own = "an experiment file with tasks of your own: the events that they are about are kept too"
    add("--config", type=Path, metavar="FILE", help=own)
    workers(parser)
    ray = """work on a Ray cluster instead: auto, host:6379 or ray://host:10001; every node needs the ray extra
        installed and sees inputs and output under the same paths"""
    add("--ray", metavar="ADDRESS", help=ray)
    rehash = """read the recordings of finished nights again to see that they are the same, also where size and times
        have not changed"""
    add("--rehash", action="store_true", help=rehash)
    strict = """what is otherwise said at the end is an error: files that are not used, notes about recordings and
        scorings, rows without a recording; a scoring that cannot be read refuses its night"""
    add("--strict", action="store_true", help=strict)


def run(args: Namespace) -> int:
    from data_pipeline.montage.file import read_montage
    from data_pipeline.prepare.run import PrepareConfig, prepare
    from sleepmami_jax.run.progress import counted

    montage = read_montage(args.montage) if args.montage else None
    config = PrepareConfig(kinds=_own_kinds(args.config)) if args.config else None
    how = {"cohort": args.cohort, "workers": args.workers, "ray": args.ray, "rehash": args.rehash}
    how["strict"] = args.strict
    try:
        with counted("prepare") as progress:
            summary = prepare(args.inputs, args.out, config=config, montage=montage, progress=progress, **how)
    except KeyboardInterrupt:
        print("stopped: finished nights are kept, the same command goes on from here", file=sys.stderr)
        return 130
    print(summary.table())
    if args.strict and summary.complaints:
        print(f"sleepmami: {summary.complaints} to be seen to, see above (--strict)", file=sys.stderr)
        return 1
    return 0 if summary.nights else 1


def _own_kinds(experiment: Path) -> tuple[str, ...]:
    """Kinds of event of the experiment's tasks that are its own."""
    from data_pipeline.night import EventKind
    from sleepmami_jax.config import load_experiment

    kinds = {kind for task in load_experiment(experiment).tasks for kind in task.kinds}
    return tuple(sorted(kinds - set(EventKind)))
