"""Arguments that several commands take."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path


def montage(parser: ArgumentParser) -> None:
    parser.add_argument("--montage", type=Path, metavar="FILE", help="YAML: which label fills which slot, and how")


def workers(parser: ArgumentParser, help: str = "processes; the bytes do not depend on it") -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help=help)


def experiment(parser: ArgumentParser) -> None:
    of = "an experiment file, or the name of a recipe of this package, such as micro_tiny"
    parser.add_argument("--config", type=Path, required=True, help=of)
    change = "change fields of the experiment"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="a.b=c", help=change)


def training(parser: ArgumentParser) -> None:
    experiment(parser)
    where = "where the run lives, a folder or gs://bucket/folder; an interrupted run goes on"
    parser.add_argument("--workdir", type=Path, required=True, help=where)
    accept = "go on although the configuration or the data changed"
    parser.add_argument("--accept-changes", action="store_true", help=accept)
    group = parser.add_argument_group("many processes", "see docs/scale.md")
    started = "one of the processes that Slurm, MPI, TPUs or GKE started"
    group.add_argument("--distributed", action="store_true", help=started)
    first = "of process 0, where none of these says so"
    group.add_argument("--coordinator", metavar="HOST:PORT", help=first)
    group.add_argument("--processes", type=int, help="how many there are")
    group.add_argument("--process", type=int, help="which one this is, from 0")


def join(args: Namespace) -> None:
    """Makes this process one of many, if the arguments of `training` say so."""
    given = (args.coordinator, args.processes, args.process)
    if args.distributed or any(value is not None for value in given):
        from sleepmami_jax.run.processes import join

        join(*given)
