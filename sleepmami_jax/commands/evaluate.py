"""Measure a model on prepared nights, beside baselines.

sleepmami evaluate --model demo/model shards --split test --out metrics.json
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import loaded, model


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, nargs="+", help="prepared folders")
    model(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="whose nights are measured")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--embeddings", type=Path, help="keep micro tokens here between evaluations")
    only = "as if nothing else had been recorded: channels such as C4, or all of a modality such as EEG"
    parser.add_argument("--only", nargs="+", default=[], metavar="CHANNEL", help=only)


def run(args: Namespace) -> int:
    import tempfile

    from data_pipeline.whole_files import write_whole
    from sleepmami_jax.evaluation.evaluate import evaluate
    from sleepmami_jax.evaluation.table import metrics_table
    from sleepmami_jax.run.progress import bars

    scorer = loaded(args)
    with tempfile.TemporaryDirectory() as scratch:
        kept = {"embeddings": args.embeddings or Path(scratch), "progress": bars(quiet=False)}
        result = evaluate(scorer, tuple(map(str, args.shards)), split=args.split, only=args.only, **kept)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, json.dumps(result, indent=1) + "\n")
    print(f"{result['n_nights']} nights of {result['n_subjects']} subjects of split {result['split']}")
    if args.only:
        print(f"channels: {', '.join(result['channels'])}")
    print(metrics_table(result, scorer.folder.tasks))
    print(f"all metrics: {args.out}")
    return 0
