"""What models of each size hold and take.

sleepmami sizes --night-hours 8
"""

from argparse import ArgumentParser, Namespace


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--night-hours", type=float, default=8.0, help="length of a night (8)")


def run(args: Namespace) -> int:
    from sleepmami_jax.costs.sizes import sizes_table

    print(sizes_table(args.night_hours))
    return 0
