"""Recordings that are known by their names, for cohorts that publish a flat folder or a folder a person."""

import re
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.cohorts import recordings_under


def named_recordings(inputs: Sequence[Path], name: str, expected: str) -> list[tuple[Path, re.Match[str]]]:
    """The files under folders whose whole name is `name`, and the match; sorted, upper and lower case alike.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    pattern = re.compile(name, re.IGNORECASE)
    found = recordings_under(inputs, lambda path: pattern.fullmatch(path.name) is not None, expected)
    return [(path, pattern.fullmatch(path.name)) for path in found]


def find_records(inputs: Sequence[Path], name: re.Pattern[str]) -> list[Path]:
    """The `.hea` files whose stem is `name`, among the files given and under the folders given, sorted.

    Raises:
      ValueError: an input that is not there or holds none.
    """
    return recordings_under(
        inputs,
        lambda path: path.suffix == ".hea" and name.fullmatch(path.stem) is not None,
        f"headers named {name.pattern}.hea",
    )


def existing(*paths: Path) -> tuple[Path, ...]:
    """Those of some files that are there."""
    return tuple(path for path in paths if path.is_file())
