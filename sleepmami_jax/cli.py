"""The `sleepmami` command: finds the command that is meant, says how errors end it, and sets the process up."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from logging import Formatter
from pathlib import Path
from textwrap import indent

from absl import app, flags, logging

from sleepmami_jax.commands import RESEARCH_USE
from sleepmami_jax.run.interrupt import STOPPED, heed_interrupts

COMMANDS = (
    *("demo", "simulate", "diagnose", "prepare", "verify", "pack", "population", "pretrain", "embed", "finetune"),
    *("compile", "evaluate", "probe", "score", "sweep", "adapt", "export", "import-torch", "push", "sizes"),
)
RESUMED = ("demo", "simulate", "prepare", "pack", "pretrain", "embed", "finetune", "score", "sweep")
"""Of these the same command goes on with what an interrupted one has done."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what each takes, and its help, is in `commands`."""
    parser = argparse.ArgumentParser(
        prog="sleepmami", description=f"Whole-night sleep recordings, one model of both scales. {RESEARCH_USE}"
    )
    parser.add_argument("--version", action="version", version=f"sleepmami {version('sleepmami')}")
    parser.set_defaults(run=lambda args: parser.print_help() or 2)
    commands = parser.add_subparsers(metavar="command")
    for name in COMMANDS:
        command = import_module(f"sleepmami_jax.commands.{name.replace('-', '_')}")
        says, example, *more = command.__doc__.rstrip().split("\n\n")
        sub = commands.add_parser(
            name,
            help=says[0].lower() + says[1:].rstrip("."),
            description=says,
            epilog="\n\n".join([f"example:\n{indent(example, '  ')}", *more]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        sub.set_defaults(run=command.run, name=name)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line, whose first word is the program."""
    flags.FLAGS(argv[:1])  # Grain reads absl flags, which must count as parsed
    return make_parser().parse_args(argv[1:])


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


def run_command(args: argparse.Namespace) -> int:
    """Does what was asked for; the exit status. An error of the input is one line on stderr."""
    from data_pipeline.night import RecordingError

    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step it takes
    logging.get_absl_handler().setFormatter(Formatter("sleepmami: %(message)s"))
    try:
        return args.run(args)
    except KeyboardInterrupt:
        _say_stopped(args.name)
        return STOPPED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RecordingError, ValueError, OSError, RuntimeError) as error:
        if os.environ.get("SLEEPMAMI_TRACEBACK"):
            raise
        print(f"sleepmami: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def _say_stopped(name: str | None) -> None:
    print(f"\nsleepmami: stopped{', the same command goes on from here' if name in RESUMED else ''}", file=sys.stderr)


def main() -> None:
    """Console entry point."""
    _huge_pages()
    _keep_compiled()
    name = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    heed_interrupts(lambda: _say_stopped(name))
    try:
        app.run(run_command, flags_parser=parse)
    except KeyboardInterrupt:  # not yet in a command, or leaving it
        _say_stopped(name)
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
