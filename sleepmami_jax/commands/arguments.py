"""Arguments that several commands take."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sleepmami_jax.pretrained import Pretrained


def model(parser: ArgumentParser) -> None:
    """The model to score with; `loaded` reads it."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default="bundled",
        help="a model folder, or owner/name[@revision] on the Hugging Face hub; without it, the bundled one",
    )


def loaded(args: Namespace) -> Pretrained:
    """The model that the argument of `model` names; the bundled one says so, since nobody asked for it."""
    from sleepmami_jax import load

    model = load(args.model)
    if model.bundled:
        print(f"bundled model {model.card['name']}, trained on {model.card['trained_on']}")
    return model


def montage(parser: ArgumentParser) -> None:
    """A laboratory's own montage."""
    parser.add_argument("--montage", type=Path, metavar="FILE", help="YAML: which label fills which slot, and how")


def workers(parser: ArgumentParser, help: str = "processes; the bytes do not depend on it") -> None:
    """How many processes work; as many as there are cores."""
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help=help)


def experiment(parser: ArgumentParser) -> None:
    """An experiment, and what is changed of it."""
    add = parser.add_argument
    add(
        "--config", type=Path, required=True, help="an experiment file, or a recipe of this package, such as micro_tiny"
    )
    add("--set", nargs="+", action="extend", default=[], metavar="a.b=c", help="change fields of the experiment")


def training(parser: ArgumentParser) -> None:
    """A run of an experiment: where it lives, and in how many processes; `join` makes this one of them."""
    experiment(parser)
    add = parser.add_argument
    where = "where the run lives, a folder or gs://bucket/folder; an interrupted run goes on"
    add("--workdir", type=Path, required=True, help=where)
    add("--accept-changes", action="store_true", help="go on although the configuration or the data changed")
    profile = "trace so many steps, from the third on, to WORKDIR/profile, for XProf, TensorBoard or Perfetto"
    add("--profile", type=int, default=0, metavar="STEPS", help=profile)
    add = parser.add_argument_group("many processes", "see docs/scale.md").add_argument
    add("--distributed", action="store_true", help="one of the processes that Slurm, MPI, TPUs or GKE started")
    add("--coordinator", metavar="HOST:PORT", help="of process 0, where none of these says so")
    add("--processes", type=int, help="how many there are")
    add("--process", type=int, help="which one this is, from 0")


def join(args: Namespace) -> None:
    """Makes this process one of many, if the arguments of `training` say so."""
    given = (args.coordinator, args.processes, args.process)
    if args.distributed or any(value is not None for value in given):
        from sleepmami_jax.run.processes import join

        join(*given)
