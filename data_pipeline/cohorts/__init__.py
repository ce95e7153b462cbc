"""Where the nights of a data set are, and whose they are: a module a cohort, with `find_nights(inputs)`.

A module whose name begins with an underscore is no cohort: it holds what several share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_pipeline.annotations.terms import Meaning
from data_pipeline.night import Demographics


@dataclass(frozen=True)
class Source:
    """A night that can be prepared.

    Attributes:
      night_id: unique within the data set; letters, digits, `.`, `_` and `-` only, for it names a file.
      subject_id: nights of one person share it.
      site: where it was recorded ("" when unknown).
      recording: the signals.
      scoring: files with stages or events, none when nobody scored it.
      demographics: what the cohort's tables say of the person.
      split: "train", "val" or "test" when the data set fixes it, else None.
      scored: what the scorer looked for, as in `night.Scoring`; None takes it from what the files show.
      dialect: how `scoring` is written, a module of `data_pipeline.annotations`; None looks at each file.
      terms: words of the scoring that mean something of their own in this cohort, in lower case.
      unusable: what is known to be wrong in this recording, as in `load.load_night`.
      cohort: whose nights these are, where the folder itself says so; None is the name of the adapter.
    """

    night_id: str
    subject_id: str
    site: str
    recording: Path
    scoring: tuple[Path, ...] = ()
    demographics: Demographics = field(default_factory=Demographics)
    split: str | None = None
    scored: frozenset[str] | None = None
    dialect: str | None = None
    terms: Mapping[str, Meaning] = field(default_factory=dict)
    unusable: frozenset[str] = frozenset()
    cohort: str | None = None


def find_nights(inputs: Sequence[Path], cohort: str = "generic") -> list[Source]:
    """The nights under files and folders, sorted by id, as the cohort's own module finds them.

    Raises:
      ValueError: no such cohort, nothing found, or a table that cannot be understood.
    """
    known = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    if cohort not in known:
        raise ValueError(f"no cohort {cohort!r}; expected one of: {', '.join(known)}")
    module = importlib.import_module(f"{__name__}.{cohort}")
    return sorted(module.find_nights(inputs), key=lambda source: source.night_id)
