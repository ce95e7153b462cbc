"""The `sleepmami` command. Each command is a function below; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from logging import Formatter
from pathlib import Path

from absl import app, flags, logging

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment."


def demo(args) -> int:
    from experiments.demo import run

    run(args.out)
    return 0


def simulate(args) -> int:
    from tqdm import tqdm

    from data_pipeline.simulate import simulate_cohort

    with tqdm(total=args.nights, desc="simulate", unit="night", delay=0.5) as bar:
        paths = simulate_cohort(
            args.out, args.nights, site=args.site, seed=args.seed, workers=args.workers, progress=bar.update
        )
    print(f"{len(paths)} nights in {args.out}; next: sleepmami prepare {args.out} --out shards")
    return 0


def diagnose(args) -> int:
    from data_pipeline.diagnose import diagnose
    from data_pipeline.montage_file import read_montage

    if args.write_montage and args.write_montage.exists():  # it may have been reviewed
        raise ValueError(
            f"{args.write_montage} is there already; choose another name, nothing was overwritten"
        )
    diagnosis = diagnose(args.file, read_montage(args.montage) if args.montage else None)
    print(json.dumps(diagnosis.to_dict(), indent=1) if args.json else diagnosis.to_text())
    if args.write_montage and diagnosis.montage_yaml:
        args.write_montage.write_text(diagnosis.montage_yaml, encoding="utf-8")
    if args.report:
        from data_pipeline.quality_report import write_report

        write_report(diagnosis, args.report)
    return 0 if diagnosis.usable else 2


def prepare(args) -> int:
    from tqdm import tqdm

    from data_pipeline.montage_file import read_montage
    from data_pipeline.prepare import prepare

    montage = read_montage(args.montage) if args.montage else None
    try:
        with tqdm(desc="prepare", unit="night", delay=0.5) as bar:
            summary = prepare(
                args.inputs,
                args.out,
                cohort=args.cohort,
                workers=args.workers,
                montage=montage,
                ray=args.ray,
                rehash=args.rehash,
                progress=partial(_advance, bar),
            )
    except KeyboardInterrupt:
        print("stopped: finished nights are kept, the same command goes on from here", file=sys.stderr)
        return 130
    print(summary.table())
    return 0 if summary.nights else 1


def _advance(bar, done, total, night_id) -> None:
    bar.total = total
    bar.update(done - bar.n)


def verify(args) -> int:
    from tqdm import tqdm

    from data_pipeline.verify import verify

    with tqdm(desc="verify", unit="night") as bar:
        problems = verify(args.shards, workers=args.workers, progress=partial(_advance, bar))
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{args.shards}: every record and checksum is as the manifest says")
    return 1 if problems else 0


def population(args) -> int:
    from dataclasses import asdict

    from data_pipeline.population import population_text
    from data_pipeline.population_file import read_population
    from data_pipeline.population_shift import compare, comparison_text

    a = read_population(args.a)
    if args.b is None:
        print(json.dumps(asdict(a), indent=1) if args.json else population_text(a))
        return 0
    b = read_population(args.b)
    differences = compare(a, b)
    if args.json:
        print(json.dumps([asdict(difference) for difference in differences], indent=1, allow_nan=False))
    else:
        print(comparison_text(a, b, differences))
    return 0


def pretrain(args) -> int:
    from sleepmami_jax.config import ConfigError, Finetuning, load_experiment
    from sleepmami_jax.training.loop import train

    _join(args)
    experiment = load_experiment(args.config, args.set)
    if isinstance(experiment.objective, Finetuning):
        raise ConfigError(f"{args.config} is a fine-tuning experiment; use `sleepmami finetune`")
    print(f"model folder: {train(experiment, args.workdir, accept_changes=args.accept_changes)}")
    return 0


def finetune(args) -> int:
    from sleepmami_jax.config import ConfigError, Finetuning, load_experiment
    from sleepmami_jax.tasks.finetune import finetune

    _join(args)
    experiment = load_experiment(args.config, args.set)
    if not isinstance(experiment.objective, Finetuning):
        raise ConfigError(f"{args.config} is a pretraining experiment; use `sleepmami pretrain`")
    print(f"model folder: {finetune(experiment, args.workdir, accept_changes=args.accept_changes)}")
    return 0


def _join(args) -> None:
    if args.distributed or args.coordinator is not None:
        from sleepmami_jax.training.processes import join

        join(args.coordinator, args.processes, args.process)


def compile(args) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from sleepmami_jax.config import load_experiment
    from sleepmami_jax.training.ahead import compile_ahead

    compiled = compile_ahead(load_experiment(args.config, args.set), args.topology)
    print(json.dumps(compiled.to_dict(), indent=1))
    return 0


def embed(args) -> int:
    from sleepmami_jax import load
    from sleepmami_jax.pretrained import embed_shards
    from sleepmami_jax.progress import bars

    nights = embed_shards(load(args.model), args.shards, args.out, bars(quiet=False))
    print(f"{nights} nights in {args.out}")
    return 0


def evaluate(args) -> int:
    import tempfile

    from sleepmami_jax import load
    from sleepmami_jax.evaluation.evaluate import evaluate
    from sleepmami_jax.evaluation.table import metrics_table
    from sleepmami_jax.progress import bars

    with tempfile.TemporaryDirectory() as scratch:
        embeddings = args.embeddings or Path(scratch)
        result = evaluate(
            load(args.model),
            tuple(map(str, args.shards)),
            split=args.split,
            embeddings=embeddings,
            progress=bars(quiet=False),
            only=args.only,
        )
    text = json.dumps(result, indent=1)
    temporary = args.out.with_name(f".{args.out.name}.tmp")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text + "\n")
    temporary.replace(args.out)
    print(f"{result['n_nights']} nights of {result['n_subjects']} subjects of split {result['split']}")
    if args.only:
        print(f"channels: {', '.join(result['channels'])}")
    print(metrics_table(result))
    print(f"all metrics: {args.out}")
    return 0


def score(args) -> int:
    from sleepmami_jax import load

    several = len(args.recordings) > 1
    if several and args.scoring:
        raise ValueError("--scoring belongs to one recording; score one at a time to compare with a human")
    names = [recording.stem for recording in args.recordings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{len(names)} recordings, but {twice[0]!r} is the name of more than one; rename them"
        )
    model = load(args.model)
    for recording in args.recordings:
        out = args.out / recording.stem if several else args.out
        scores = model.score(recording, args.scoring, out=out, montage=args.montage)
        for warning in scores.warnings:
            print(f"{recording.name}: {warning}", file=sys.stderr)
        if scores.missing:
            print(f"{recording.name}: not in this recording: {', '.join(scores.missing)}")
        if "stages" in scores.agreement:
            a = scores.agreement["stages"]
            kappa = "not defined" if a["kappa"] is None else f"{a['kappa']:z.2f}"
            print(
                f"{recording.name}: stages against the scoring given: kappa {kappa}, "
                f"accuracy {a['accuracy']:.2f}, {a['n_epochs']} epochs"
            )
        print(f"{recording.name}: {out}/report.html, stages.csv, events.csv, summary.json, annotations.edf")
    print(RESEARCH_USE)
    return 0


def export(args) -> int:
    from sleepmami_jax.export.folder import load_model, save_model

    save_model(load_model(args.run_folder / "model"), args.out)
    print(f"model folder: {args.out}")
    return 0


def sweep(args) -> int:
    from sleepmami_jax.sweep.plan import load_sweep
    from sleepmami_jax.sweep.result import do_run

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


def sizes(args) -> int:
    from sleepmami_jax.models.sizes import sizes_table

    print(sizes_table(args.night_hours))
    return 0


def _parser() -> argparse.ArgumentParser:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="sleepmami",
        description=f"Whole-night sleep recordings, one model of both scales. {RESEARCH_USE}",
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
            "--workdir", type=Path, required=True, help="where the run lives; an interrupted run goes on"
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
        demo,
        "simulate, train, evaluate and score, from nothing, in a few minutes",
        "sleepmami demo --out demo",
    )
    sub.add_argument("--out", type=Path, required=True, help="a new folder; it takes about 3 GB")

    sub = command(
        simulate, "make synthetic nights with known truth", "sleepmami simulate --out recordings --nights 24"
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
        diagnose,
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
        prepare, "turn recordings into shards", "sleepmami prepare recordings --out shards --workers 8"
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

    sub = command(verify, "check every checksum and count of prepared shards", "sleepmami verify shards")
    sub.add_argument("shards", type=Path, help="a prepared folder")
    sub.add_argument("--workers", type=int, default=cores, help="processes")

    sub = command(
        population,
        "whose nights these are; with two, where they differ enough to matter",
        "sleepmami population demo/model shards",
    )
    several = "prepared nights, a model folder (what it was trained on), or a population.json"
    sub.add_argument("a", type=Path, metavar="A", help=several)
    sub.add_argument("b", type=Path, metavar="B", nargs="?", help="where the model is to be used; as A")
    sub.add_argument("--json", action="store_true", help="for programs")

    training(
        command(
            pretrain,
            "pretrain the Micro- or the Macro-Encoder",
            "sleepmami pretrain --config experiments/micro_tiny.py --workdir runs/micro --set steps=50",
        )
    )

    sub = command(
        embed,
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
            finetune,
            "train heads on scored nights",
            "sleepmami finetune --config experiments/finetune_tiny.py --workdir runs/finetune",
        )
    )

    sub = command(
        compile,
        "compile the training step for a TPU pod that is not here: memory, collectives, projected time",
        "sleepmami compile --config experiments/micro_tiny.py --topology v5e:16x16",
    )
    experiment(sub)
    sub.add_argument("--topology", required=True, help="chips, such as v5e:16x16 or v5p:4x4x4")

    sub = command(
        evaluate,
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
        score,
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
        sweep,
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
        export, "copy a finished run's model folder", "sleepmami export --run runs/finetune --out model"
    )
    sub.add_argument(
        "--run", dest="run_folder", type=Path, required=True, help="the workdir of a finished run"
    )
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = command(sizes, "what models of each size hold and take", "sleepmami sizes --night-hours 8")
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
