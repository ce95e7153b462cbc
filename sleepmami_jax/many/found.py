"""Which nights are meant by files, folders and lists, and what the folder of each is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from data_pipeline.cohorts import Source, look
from data_pipeline.cohorts._ids import safe_id
from data_pipeline.readers import is_recording

LIST = ".txt"
"""Suffix of a list of recordings and folders, one a line, as seen from the list; after a `#` is a remark."""


def find(inputs: Sequence[Path], cohort: str = "generic") -> tuple[Source, ...]:
    """The nights that are meant, each with the scoring beside it, under ids that no two share whatever the case.

    A file that is named itself is a night whatever it is called, even if it cannot be read: that costs itself only.

    Raises:
      ValueError: a folder or a list without a recording, or no such cohort.
      OSError: a list cannot be read.
    """
    named = list(dict.fromkeys(chain.from_iterable(map(_listed, inputs))))
    searched = [path for path in named if path.is_dir() or (path.is_file() and is_recording(path))]
    sources = list(look(searched, cohort).sources) if searched else []
    sources += [Source(path.stem, path.stem, "", path) for path in named if path not in set(searched)]
    return tuple(_apart(sources))


def _listed(given: Path) -> Iterator[Path]:
    if given.suffix.lower() != LIST or not given.is_file():
        yield given
        return
    lines = (line.partition("#")[0].strip() for line in given.read_text(encoding="utf-8-sig").splitlines())
    paths = [given.parent / line for line in lines if line]
    if not paths:
        raise ValueError(f"{given}: no recording is listed; expected a path a line")
    yield from paths


def _apart(sources: Sequence[Source]) -> Iterator[Source]:
    """The same nights, a number after the name where another has it too."""
    taken: set[str] = set()
    for source in sources:
        name = safe_id(source.night_id)
        numbered = (f"{name}-{number}" for number in count(2))
        night_id = next(n for n in chain([name], numbered) if n.casefold() not in taken)
        taken.add(night_id.casefold())
        yield replace(source, night_id=night_id)
