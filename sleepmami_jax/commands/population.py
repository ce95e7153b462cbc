"""Whose nights these are; with two, where they differ enough to matter.

sleepmami population demo/model shards
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    nights = "prepared nights, a model folder (what it was trained on), or a population.json"
    parser.add_argument("a", type=Path, metavar="A", help=nights)
    parser.add_argument("b", type=Path, metavar="B", nargs="?", help="where the model is to be used; as A")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: Namespace) -> int:
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
