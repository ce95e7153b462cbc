"""Measure a model on prepared nights, beside guessing, people and other stagers.

sleepmami evaluate --model demo/model shards --split test --out metrics.json

Writes the numbers as JSON and, beside them, one page of figures (metrics.html).
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import loaded, model


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, nargs="+", help="prepared folders")
    model(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="whose nights are measured")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write; the page stands beside it")
    parser.add_argument("--embeddings", type=Path, help="keep micro tokens here between evaluations")
    only = "as if nothing else had been recorded: channels such as C4, or all of a modality such as EEG"
    parser.add_argument("--only", nargs="+", default=[], metavar="CHANNEL", help=only)
    scorers = "scorings of the same nights, a folder a person, a file a night by its id"
    parser.add_argument("--scorers", type=Path, nargs="+", default=[], metavar="FOLDER", help=scorers)
    beside = "other stagers on the same nights: yasa (`pip install yasa`)"
    parser.add_argument("--beside", nargs="+", default=[], metavar="PEER", help=beside)
    probes = "with fewer sensors, noise and sensors off too, and what a straight line reads from the tokens"
    parser.add_argument("--probes", action="store_true", help=f"{probes}; ten times as long")


def run(args: Namespace) -> int:
    import tempfile

    from data_pipeline.whole_files import write_whole
    from sleepmami_jax.evaluation.evaluate import evaluate
    from sleepmami_jax.evaluation.page import metrics_page
    from sleepmami_jax.evaluation.table import metrics_table
    from sleepmami_jax.run.progress import bars

    if args.out.suffix == PAGE:
        raise ValueError(f"--out {args.out}: expected the JSON file; the page is written beside it")
    scorer = loaded(args)
    asked = {"scorers": args.scorers, "beside": args.beside, "probes": args.probes}
    with tempfile.TemporaryDirectory() as scratch:
        kept = {"embeddings": args.embeddings or Path(scratch), "progress": bars(quiet=False)}
        result = evaluate(scorer, tuple(map(str, args.shards)), split=args.split, only=args.only, **asked, **kept)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, json.dumps(result, indent=1) + "\n")
    about = {"model": scorer.card["name"], "trained_on": scorer.card["trained_on"]}
    write_whole(args.out.with_suffix(PAGE), metrics_page(result, scorer.folder.tasks, **about))
    print(f"{result['n_nights']} nights of {result['n_subjects']} subjects of split {result['split']}")
    if args.only:
        print(f"channels: {', '.join(result['channels'])}")
    print(metrics_table(result, scorer.folder.tasks))
    print(f"all metrics: {args.out}   figures: {args.out.with_suffix(PAGE)}")
    return 0


PAGE = ".html"
