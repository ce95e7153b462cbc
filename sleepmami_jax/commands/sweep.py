"""Do the runs of an experiment file's sweep(); a table and plots of their results.

sleepmami sweep --config experiments/context.py --workdir runs/context --only 'micro-only-*'
sleepmami sweep --config experiments/context.py --workdir runs/context --launcher slurm --slurm gres=gpu:1 time=4:00:00

A sweep that was stopped goes on when the same command is given again: finished runs are kept.
Exit status: 0 finished, 1 a run failed (the others are done), 130 stopped.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", type=Path, required=True, help="an experiment file with sweep()")
    add("--workdir", type=Path, required=True, metavar="DIR", help="where the sweep lives")
    where = "where runs are done: here, or on a cluster whose nodes see the same paths (docs/scale.md)"
    add("--launcher", choices=("local", "slurm", "ray"), default="local", help=where)
    at_once = "runs at once (here 1, as each uses all cores; a cluster is given all that are ready)"
    add("--parallel", type=int, metavar="N", help=at_once)
    add("--only", metavar="GLOB", help="runs of these names, and those that come before them")
    add("--dry-run", action="store_true", help="list the runs and what is done already, and what would start now")
    add("--run", dest="run_name", metavar="NAME", help="do this run here and now: what a launcher calls")
    add = parser.add_argument_group("on a cluster", "see docs/scale.md").add_argument
    each = {"nargs": "+", "action": "extend", "default": []}
    told = "what sbatch is told of each run, such as partition=gpu gres=gpu:1 time=12:00:00 signal=B:TERM@120"
    add("--slurm", **each, metavar="OPTION=VALUE", help=told)
    add("--ray", metavar="ADDRESS", help="auto (the default), host:6379 or ray://host:10001")
    add(
        "--resources", **each, metavar="NAME=NUMBER", help="what a run takes of a Ray node, such as CPU=8 GPU=1 (CPU=1)"
    )


def run(args: Namespace) -> int:
    from sleepmami_jax.config import ConfigError
    from sleepmami_jax.run.places import in_bucket
    from sleepmami_jax.sweep.plan import load_sweep
    from sleepmami_jax.sweep.result import do_run

    if in_bucket(args.workdir):
        raise ConfigError("--workdir: a sweep, with its locks and its table, lives on a disk, not in a bucket")
    plan = load_sweep(args.config)
    if args.run_name:
        do_run(plan, args.workdir, args.run_name)
        return 0
    from sleepmami_jax.sweep.launch import run_sweep

    launcher = _launcher(args)
    parallel = 1 if args.parallel is None and args.launcher == "local" else args.parallel
    return run_sweep(plan, args.workdir, launcher, only=args.only, parallel=parallel, dry_run=args.dry_run)


def _launcher(args):
    from sleepmami_jax.config import ConfigError

    for option, launcher in (("slurm", "slurm"), ("ray", "ray"), ("resources", "ray")):
        if getattr(args, option) and args.launcher != launcher:
            raise ConfigError(f"--{option} belongs to --launcher {launcher}, not to {args.launcher}")
    if args.launcher == "slurm":
        from sleepmami_jax.sweep.slurm import Slurm

        return Slurm(args.workdir, args.slurm)
    if args.launcher == "ray":
        from sleepmami_jax.sweep.ray import Ray

        return Ray(args.ray or "auto", args.resources)
    from sleepmami_jax.sweep.local import Local

    return Local()
