"""Make synthetic nights with known truth.

sleepmami simulate --out recordings --nights 24
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import workers


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or one that an earlier call began")
    parser.add_argument("--nights", type=int, required=True, help="how many; some 130 MB each")
    add = parser.add_argument
    of_bed = "shortest and longest time in bed, from half an hour on (6 to 9 hours)"
    add("--hours", type=float, nargs=2, default=(6.0, 9.0), metavar=("SHORTEST", "LONGEST"), help=of_bed)
    site = "one of the two simulated laboratories; both by turns if absent"
    parser.add_argument("--site", choices=("a", "b"), help=site)
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people and nights")
    variety = "how far people, nights and sensors lie apart: 0, all alike, to 1, as varied as people (default)"
    parser.add_argument("--variety", type=float, default=1.0, help=variety)
    workers(parser)


def run(args: Namespace) -> int:
    from tqdm import tqdm

    from data_pipeline.simulate import simulate_cohort

    with tqdm(total=args.nights, desc="simulate", unit="night", delay=0.5) as bar:
        paths = simulate_cohort(
            args.out,
            args.nights,
            site=args.site,
            seed=args.seed,
            workers=args.workers,
            hours=tuple(args.hours),
            variety=args.variety,
            progress=bar.update,
        )
    print(f"{len(paths)} nights in {args.out}; next: sleepmami prepare {args.out} --out shards")
    return 0
