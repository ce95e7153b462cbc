"""What nights tell of what becomes of people: a table of outcomes, beside age, sex, BMI and an engineered bank.

sleepmami probe shards --table outcomes.csv --out probe.json
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import loaded, model


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("shards", type=Path, nargs="+", help="prepared folders")
    model(parser)
    columns = "subject_id, NAME_time with NAME_event, or columns of numbers (docs/risk.md)"
    add("--table", type=Path, required=True, metavar="CSV", help=f"a row a person: {columns}")
    splits = ("train", "val", "test")
    add("--learn", choices=splits, default="train", help="whose nights the probes are learnt from")
    add("--split", choices=splits, default="test", help="whose nights are measured")
    add("--at", type=float, nargs="+", default=[], metavar="TIME", help="of AUROC, in the table's unit")
    add("--out", type=Path, required=True, help="the JSON file to write")
    add("--embeddings", type=Path, help="keep micro tokens here between probes")


def run(args: Namespace) -> int:
    import tempfile

    from data_pipeline.shards.manifest import read_manifest
    from data_pipeline.whole_files import write_whole
    from sleepmami_jax.evaluation.outcomes import read_outcomes
    from sleepmami_jax.evaluation.people import people_of
    from sleepmami_jax.evaluation.risk import probe_people, risk_table, targets_of
    from sleepmami_jax.run.progress import bars

    if args.learn == args.split:
        raise ValueError(
            f"--learn and --split are both {args.split}: expected people to measure that it did not learn from"
        )
    table, scorer = read_outcomes(args.table), loaded(args)
    with tempfile.TemporaryDirectory() as scratch:
        kept, shards = args.embeddings or Path(scratch), tuple(map(str, args.shards))
        learn, measure = (people_of(scorer, shards, s, kept, bars(quiet=False)) for s in (args.learn, args.split))
    if both := {p.subject_id for p in learn} & {p.subject_id for p in measure}:
        raise ValueError(f"{len(both)} people are both in {args.learn} and in {args.split}: prepare anew")
    subjects = [night.subject_id for folder in args.shards for night in read_manifest(folder).nights]
    targets, remarks = targets_of(table, subjects, [*learn, *measure])
    results = {name: probe_people(target, learn, measure, args.at) for name, target in targets.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    told = {"learn": args.learn, "split": args.split, "remarks": remarks, "outcomes": results}
    write_whole(args.out, json.dumps(told, indent=1) + "\n")
    print("\n".join([*remarks, "", risk_table(results), "", f"all of it: {args.out}"]))
    return 0
