"""The `sleepmami` command: its arguments, and how errors end it. What each command does is in `commands`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from logging import Formatter
from pathlib import Path

from absl import app, flags, logging

from sleepmami_jax.commands import deeds as do


def _parser() -> argparse.ArgumentParser:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="sleepmami",
        description=f"Whole-night sleep recordings, one model of both scales. {do.RESEARCH_USE}",
    )
    parser.add_argument("--version", action="version", version=f"sleepmami {version('sleepmami')}")
    parser.set_defaults(run=lambda args: parser.print_help() or 2)
    commands = parser.add_subparsers(metavar="command")

    def command(function, help, example):
        sub = commands.add_parser(
            function.__name__,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=function)
        return sub

    def montage(sub):
        sub.add_argument(
            "--montage", type=Path, metavar="FILE", help="YAML: which label fills which slot, and how"
        )

    def experiment(sub):
        sub.add_argument("--config", type=Path, required=True, help="an experiment file")
        sub.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="a.b=c",
            help="change fields of the experiment",
        )

    def training(sub):
        experiment(sub)
        sub.add_argument(
            "--workdir",
            type=Path,
            required=True,
            help="where the run lives, a folder or gs://bucket/folder; an interrupted run goes on",
        )
        sub.add_argument(
            "--accept-changes",
            action="store_true",
            help="go on although the configuration or the data changed",
        )
        group = sub.add_argument_group("many processes", "see docs/scale.md")
        group.add_argument(
            "--distributed",
            action="store_true",
            help="one of the processes that Slurm, MPI, TPUs or GKE started",
        )
        group.add_argument(
            "--coordinator", metavar="HOST:PORT", help="of process 0, where none of these says so"
        )
        group.add_argument("--processes", type=int, help="how many there are")
        group.add_argument("--process", type=int, help="which one this is, from 0")

    sub = command(
        do.demo,
        "simulate, train, evaluate and score, from nothing, in a few minutes",
        "sleepmami demo --out demo",
    )
    sub.add_argument("--out", type=Path, required=True, help="a new folder; it takes about 3 GB")

    sub = command(
        do.simulate,
        "make synthetic nights with known truth",
        "sleepmami simulate --out recordings --nights 24",
    )
    sub.add_argument(
        "--out", type=Path, required=True, help="a new folder, or one that an earlier call began"
    )
    sub.add_argument("--nights", type=int, required=True, help="how many; some 130 MB each")
    sub.add_argument(
        "--site", choices=("a", "b"), help="one of the two simulated laboratories; both by turns if absent"
    )
    sub.add_argument("--seed", type=int, default=0, help="another seed, other people and nights")
    sub.add_argument("--workers", type=int, default=cores, help="processes; the bytes do not depend on it")

    sub = command(
        do.diagnose,
        "say what each channel of a recording is, and what will work",
        "sleepmami diagnose night.edf",
    )
    sub.add_argument("file", type=Path, help="a recording")
    sub.add_argument("--json", action="store_true", help="for programs")
    montage(sub)
    sub.add_argument(
        "--write-montage", type=Path, metavar="FILE", help="write this recording's montage, for review"
    )
    sub.add_argument("--report", type=Path, metavar="FILE", help="quality over time, as .html or .png")

    sub = command(
        do.prepare, "turn recordings into shards", "sleepmami prepare recordings --out shards --workers 8"
    )
    sub.epilog += (
        "\n\nA run that was stopped goes on when the same command is given again. Exit status: 0 finished (what was "
        "refused,\nand why, is in rejected.jsonl), 1 nothing accepted or the output cannot be written, 130 stopped."
    )
    sub.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="recordings, or folders of them")
    sub.add_argument("--out", type=Path, required=True, help="the folder to fill; it belongs to these inputs")
    montage(sub)
    sub.add_argument(
        "--cohort",
        default="generic",
        metavar="NAME",
        help="how files, scorings and demographics are found: shhs, mesa, mros, physionet2018, slpdb, sleep_edf, "
        "isruc, kiss, generic, or a Python file of your own (docs/data.md)",
    )
    sub.add_argument("--workers", type=int, default=cores, help="processes; the bytes do not depend on it")
    sub.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on a Ray cluster instead: auto, host:6379 or ray://host:10001; every node needs the ray extra "
        "installed and sees inputs and output under the same paths",
    )
    sub.add_argument(
        "--rehash",
        action="store_true",
        help="read the recordings of finished nights again to see that they are the same, also where size and "
        "times have not changed",
    )

    sub = command(do.verify, "check every checksum and count of prepared shards", "sleepmami verify shards")
    sub.add_argument("shards", type=Path, help="a prepared folder")
    sub.add_argument("--workers", type=int, default=cores, help="processes")

    sub = command(
        do.population,
        "whose nights these are; with two, where they differ enough to matter",
        "sleepmami population demo/model shards",
    )
    several = "prepared nights, a model folder (what it was trained on), or a population.json"
    sub.add_argument("a", type=Path, metavar="A", help=several)
    sub.add_argument("b", type=Path, metavar="B", nargs="?", help="where the model is to be used; as A")
    sub.add_argument("--json", action="store_true", help="for programs")

    training(
        command(
            do.pretrain,
            "pretrain the Micro- or the Macro-Encoder",
            "sleepmami pretrain --config sleepmami_jax/recipes/micro_tiny.py --workdir runs/micro --set steps=50",
        )
    )

    sub = command(
        do.embed,
        "micro tokens and night vectors of prepared nights",
        "sleepmami embed --model demo/model shards --out embedded",
    )
    sub.add_argument("shards", type=Path, help="a prepared folder")
    sub.add_argument("--model", type=Path, required=True, help="a model folder")
    sub.add_argument(
        "--out", type=Path, required=True, help="a folder; nights embedded there before are kept"
    )

    training(
        command(
            do.finetune,
            "train heads on scored nights",
            "sleepmami finetune --config sleepmami_jax/recipes/finetune_tiny.py --workdir runs/finetune",
        )
    )

    sub = command(
        do.compile,
        "compile the training step for a TPU pod that is not here: memory, collectives, projected time",
        "sleepmami compile --config sleepmami_jax/recipes/micro_tiny.py --topology v5e:16x16",
    )
    experiment(sub)
    sub.add_argument("--topology", required=True, help="chips, such as v5e:16x16 or v5p:4x4x4")

    sub = command(
        do.evaluate,
        "measure a model on prepared nights, beside baselines",
        "sleepmami evaluate --model demo/model shards --split test --out metrics.json",
    )
    sub.add_argument("shards", type=Path, nargs="+", help="prepared folders")
    sub.add_argument("--model", type=Path, required=True, help="a model folder")
    sub.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="whose nights are measured"
    )
    sub.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    sub.add_argument("--embeddings", type=Path, help="keep micro tokens here between evaluations")
    sub.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="CHANNEL",
        help="as if nothing else had been recorded: channels such as C4, or all of a modality such as EEG",
    )

    sub = command(
        do.score,
        "stages, events, indices and a report of a recording",
        "sleepmami score night.edf --model demo/model --out night",
    )
    sub.add_argument("recordings", type=Path, nargs="+", metavar="NIGHT.edf", help="recordings")
    sub.add_argument("--model", type=Path, required=True, help="a model folder")
    sub.add_argument(
        "--out", type=Path, required=True, help="a folder; one below it for each of several recordings"
    )
    montage(sub)
    sub.add_argument("--scoring", type=Path, nargs="*", default=[], help="a human's scoring, to compare with")

    sub = command(
        do.sweep,
        "do the runs of an experiment file's sweep(); a table and plots of their results",
        "sleepmami sweep --config experiments/context.py --workdir runs/context --only 'micro-only-*'",
    )
    sub.epilog += (
        "\n  sleepmami sweep --config experiments/context.py --workdir runs/context --launcher slurm "
        "--slurm gres=gpu:1 time=4:00:00"
        "\n\nA sweep that was stopped goes on when the same command is given again: finished runs are kept.\n"
        "Exit status: 0 finished, 1 a run failed (the others are done), 130 stopped."
    )
    sub.add_argument("--config", type=Path, required=True, help="an experiment file with sweep()")
    sub.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="where the sweep lives")
    sub.add_argument(
        "--launcher",
        choices=("local", "slurm", "ray"),
        default="local",
        help="where runs are done: here, or on a cluster whose nodes see the same paths (docs/scale.md)",
    )
    sub.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="runs at once (here 1, as each uses all cores; a cluster is given all that are ready)",
    )
    sub.add_argument("--only", metavar="GLOB", help="runs of these names, and those that come before them")
    sub.add_argument(
        "--dry-run",
        action="store_true",
        help="list the runs and what is done already, and what would start now",
    )
    sub.add_argument(
        "--run", dest="run_name", metavar="NAME", help="do this run here and now: what a launcher calls"
    )
    group = sub.add_argument_group("on a cluster", "see docs/scale.md")
    group.add_argument(
        "--slurm",
        nargs="+",
        action="extend",
        default=[],
        metavar="OPTION=VALUE",
        help="what sbatch is told of each run, such as partition=gpu gres=gpu:1 time=12:00:00 signal=B:TERM@120",
    )
    group.add_argument("--ray", metavar="ADDRESS", help="auto (the default), host:6379 or ray://host:10001")
    group.add_argument(
        "--resources",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=NUMBER",
        help="what a run takes of a Ray node, such as CPU=8 GPU=1 (CPU=1)",
    )

    sub = command(
        do.export, "copy a finished run's model folder", "sleepmami export --run runs/finetune --out model"
    )
    sub.add_argument(
        "--run", dest="run_folder", type=Path, required=True, help="the workdir of a finished run"
    )
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = command(do.sizes, "what models of each size hold and take", "sleepmami sizes --night-hours 8")
    sub.add_argument("--night-hours", type=float, default=8.0, help="length of a night (8)")
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    flags.FLAGS(argv[:1])  # Grain reads absl flags, which must count as parsed
    return _parser().parse_args(argv[1:])


def _huge_pages() -> None:
    """Start again with glibc using huge pages, once; it reads this setting at start only. A value of yours, even
    none (`GLIBC_TUNABLES= sleepmami …`), stays.

    XLA on CPU takes its temporary buffers anew at each call, hundreds of thousands of page faults a step in small
    pages; `benchmarks/huge_pages.py` measures what this is worth, and what a heap never given back would be.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, "-P", "-m", "sleepmami_jax.cli", *sys.argv[1:]])


def _keep_compiled() -> None:
    """Compiled programs are kept for the next run, in the user's own cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sleepmami" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))


def _run(args: argparse.Namespace) -> int:
    from data_pipeline.night import RecordingError

    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step it takes
    logging.get_absl_handler().setFormatter(Formatter("sleepmami: %(message)s"))
    try:
        return args.run(args)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RecordingError, ValueError, OSError, RuntimeError) as error:
        if os.environ.get("SLEEPMAMI_TRACEBACK"):
            raise
        print(f"sleepmami: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def main() -> None:
    """Console entry point."""
    _huge_pages()
    _keep_compiled()
    app.run(_run, flags_parser=_parse)


if __name__ == "__main__":
    main()
