"""What each `sleepmami` command does: one function each, which imports what it needs when it runs.

They take parsed arguments (`sleepmami_jax.cli`) and return an exit status.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from data_pipeline.whole_files import write_whole

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment."


def demo(args) -> int:
    from sleepmami_jax.recipes.demo import run

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
    from data_pipeline.diagnose.diagnosis import diagnose
    from data_pipeline.montage.file import read_montage

    if args.write_montage and args.write_montage.exists():  # it may have been reviewed
        raise ValueError(
            f"{args.write_montage} is there already; choose another name, nothing was overwritten"
        )
    diagnosis = diagnose(args.file, read_montage(args.montage) if args.montage else None)
    print(json.dumps(diagnosis.to_dict(), indent=1) if args.json else diagnosis.to_text())
    if args.write_montage and diagnosis.montage_yaml:
        args.write_montage.write_text(diagnosis.montage_yaml, encoding="utf-8")
    if args.report:
        from data_pipeline.diagnose.page import write_report

        write_report(diagnosis, args.report)
    return 0 if diagnosis.usable else 2


def prepare(args) -> int:
    from tqdm import tqdm

    from data_pipeline.montage.file import read_montage
    from data_pipeline.prepare.run import prepare

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

    from data_pipeline.prepare.verify import verify

    with tqdm(desc="verify", unit="night") as bar:
        problems = verify(args.shards, workers=args.workers, progress=partial(_advance, bar))
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{args.shards}: every record and checksum is as the manifest says")
    return 1 if problems else 0


def population(args) -> int:
    from dataclasses import asdict

    from data_pipeline.population.card import population_text
    from data_pipeline.population.file import read_population
    from data_pipeline.population.shift import compare, comparison_text

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
    from sleepmami_jax.training.finetune import finetune

    _join(args)
    experiment = load_experiment(args.config, args.set)
    if not isinstance(experiment.objective, Finetuning):
        raise ConfigError(f"{args.config} is a pretraining experiment; use `sleepmami pretrain`")
    print(f"model folder: {finetune(experiment, args.workdir, accept_changes=args.accept_changes)}")
    return 0


def _join(args) -> None:
    given = (args.coordinator, args.processes, args.process)
    if args.distributed or any(value is not None for value in given):
        from sleepmami_jax.run.processes import join

        join(args.coordinator, args.processes, args.process)


def compile(args) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from sleepmami_jax.config import load_experiment
    from sleepmami_jax.costs.compile import compile_ahead
    from sleepmami_jax.training.step import lower

    compiled = compile_ahead(load_experiment(args.config, args.set), args.topology, lower)
    print(json.dumps(compiled.to_dict(), indent=1))
    return 0


def embed(args) -> int:
    from sleepmami_jax import load
    from sleepmami_jax.pretrained import embed_shards
    from sleepmami_jax.run.progress import bars

    nights = embed_shards(load(args.model), args.shards, args.out, bars(quiet=False))
    print(f"{nights} nights in {args.out}")
    return 0


def evaluate(args) -> int:
    import tempfile

    from sleepmami_jax import load
    from sleepmami_jax.evaluation.evaluate import evaluate
    from sleepmami_jax.evaluation.table import metrics_table
    from sleepmami_jax.run.progress import bars

    with tempfile.TemporaryDirectory() as scratch:
        embeddings = args.embeddings or Path(scratch)
        model = load(args.model)
        result = evaluate(
            model,
            tuple(map(str, args.shards)),
            split=args.split,
            embeddings=embeddings,
            progress=bars(quiet=False),
            only=args.only,
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, json.dumps(result, indent=1) + "\n")
    print(f"{result['n_nights']} nights of {result['n_subjects']} subjects of split {result['split']}")
    if args.only:
        print(f"channels: {', '.join(result['channels'])}")
    print(metrics_table(result, model.folder.tasks))
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
    from sleepmami_jax.config import ConfigError
    from sleepmami_jax.run.places import in_bucket
    from sleepmami_jax.sweep.plan import load_sweep
    from sleepmami_jax.sweep.result import do_run

    if in_bucket(args.workdir):
        raise ConfigError(
            "--workdir: a sweep, with its locks and its table, lives on a disk, not in a bucket"
        )
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
    from sleepmami_jax.costs.sizes import sizes_table

    print(sizes_table(args.night_hours))
    return 0
