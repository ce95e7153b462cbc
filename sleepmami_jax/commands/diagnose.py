"""Say what each channel of a recording is, and what will work.

sleepmami diagnose night.edf
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sleepmami_jax.commands.arguments import montage


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, help="a recording")
    add("--json", action="store_true", help="for programs")
    montage(parser)
    add("--write-montage", type=Path, metavar="FILE", help="write this recording's montage, for review")
    add("--report", type=Path, metavar="FILE", help="quality over time, as .html or .png")


def run(args: Namespace) -> int:
    from data_pipeline.diagnose.diagnosis import diagnose
    from data_pipeline.montage.file import read_montage

    if args.write_montage and args.write_montage.exists():  # it may have been reviewed
        raise ValueError(f"{args.write_montage} is there already; choose another name, nothing was overwritten")
    diagnosis = diagnose(args.file, read_montage(args.montage) if args.montage else None)
    print(json.dumps(diagnosis.to_dict(), indent=1) if args.json else diagnosis.to_text())
    if args.write_montage and diagnosis.montage_yaml:
        args.write_montage.write_text(diagnosis.montage_yaml, encoding="utf-8")
    if args.report:
        from data_pipeline.diagnose.page import write_report

        write_report(diagnosis, args.report)
    return 0 if diagnosis.usable else 2
