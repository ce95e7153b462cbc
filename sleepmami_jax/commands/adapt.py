"""A model brought to a laboratory by its recordings alone, without a scoring.

sleepmami adapt night1.edf night2.edf night3.edf --out model

Three nights or more of as different people as there are: what is usual in them becomes what was usual in training.
Nothing is written where the model is not surer of its stages then.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import loaded, model, montage


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("recordings", type=Path, nargs="+", metavar="NIGHT.edf", help="recordings of one laboratory")
    model(parser)
    add("--out", type=Path, required=True, help="a new model folder")
    montage(parser)


def run(args: Namespace) -> int:
    from data_pipeline.load import load_night
    from data_pipeline.montage.file import read_montage
    from sleepmami_jax.evaluation.adapt import adapt
    from sleepmami_jax.export.folder import save_model

    scorer, rules = loaded(args), read_montage(args.montage) if args.montage else None
    adapted = adapt(scorer, (load_night(recording, montage=rules) for recording in args.recordings))
    for name, moved in adapted.moved.items():
        print(f"{name}: {moved:.1f} sd from the nights of training, {adapted.widened[name]:.2f} times as wide")
    if not adapted.what:
        print("Nothing was changed, and nothing written: no change would make the model surer of its stages.")
        return 0
    save_model(adapted.folder, args.out)
    risks = f"{adapted.risk_before:.0%} to {adapted.risk_after:.0%}"
    print(f"Changed over {adapted.nights} nights: {adapted.what}. {adapted.restaged:.0%} of epochs have another stage;")
    print(f"the model's own chance of a wrong stage went from {risks}. No scoring was asked: see docs/trust.md.")
    print(f"model folder: {args.out}")
    return 0
