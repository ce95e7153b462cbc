"""Where the nights of a data set are, and whose they are: a module a cohort, with `find_nights(inputs)`.

A module whose name begins with an underscore is no cohort: it holds what several share.
"""

import importlib
import importlib.util
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from data_pipeline.annotations import DIALECTS
from data_pipeline.annotations.terms import Meaning
from data_pipeline.cohorts._people import alike as alike
from data_pipeline.night import Demographics, EventKind
from data_pipeline.shards.manifest import SPLITS


@dataclass(frozen=True)
class Source:
    """A night that can be prepared.

    Attributes:
      night_id: unique within the data set; letters, digits, `.`, `_` and `-` only, for it names a file.
      subject_id: nights of one person share it.
      site: where it was recorded ("" when unknown).
      recording: the signals.
      parts: further files of the night's recording, in the order of time; none for most.
      scoring: files with stages or events, none when nobody scored it.
      demographics: what the cohort's tables say of the person.
      split: "train", "val" or "test" when the data set fixes it, else None.
      scored: what the scorer looked for, as in `night.Scoring`; None takes it from what the files show.
      dialect: how `scoring` is written, a name in `annotations.DIALECTS`; None looks at each file.
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
    parts: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        where = f"Source of night {self.night_id!r}"
        for name in ("night_id", "subject_id", "site"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{where}: {name}: expected text, found a {type(getattr(self, name)).__name__}")
        if not isinstance(self.recording, Path) or not all(
            isinstance(paths, tuple) and all(isinstance(path, Path) for path in paths)
            for paths in (self.scoring, self.parts)
        ):
            raise ValueError(f"{where}: expected a Path as recording, and tuples of Paths as scoring and parts")
        if self.split not in (None, *SPLITS):
            raise ValueError(f"{where}: split {self.split!r}; expected one of {SPLITS}, or None")
        if self.dialect not in (None, *DIALECTS):
            raise ValueError(f"{where}: dialect {self.dialect!r}; expected one of {sorted(DIALECTS)}, or None")
        if unknown := set(self.scored or ()) - {"stages", *EventKind}:
            problem = f"{where}: scored {sorted(unknown)}; expected 'stages' or {[str(kind) for kind in EventKind]}"
            raise ValueError(problem)


@dataclass(frozen=True)
class Found:
    """What a cohort found under its inputs.

    Attributes:
      sources: the nights, sorted by id.
      remarks: a sentence each for what a person should know of tables and names.
      left: files that no night is made of, the likeliest to be missed first.
    """

    sources: tuple[Source, ...]
    remarks: tuple[str, ...] = ()
    left: tuple[Path, ...] = ()


def find_nights(inputs: Sequence[Path], cohort: str = "generic") -> list[Source]:
    """The nights under files and folders, sorted by id, as the cohort's own module finds them.

    >>> [night.night_id for night in find_nights([Path("recordings")])]
    ['sim-b-0000']

    Args:
      cohort: a module of this package, or the path of a Python file that has a `find_nights(inputs)` of its own.

    Raises:
      ValueError: no such cohort, nothing found, or a table that cannot be understood.
    """
    return list(look(inputs, cohort).sources)


def look(inputs: Sequence[Path], cohort: str = "generic") -> Found:
    """As `find_nights`, with what a cohort that knows no more than names has to say of them (its `look`)."""
    name, adapter = Path(cohort).stem, _adapter(cohort)
    try:
        whole = adapter.look(inputs) if hasattr(adapter, "look") else Found(adapter.find_nights(inputs))
        found = whole.sources
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if not cohort.endswith(".py"):
            raise
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == cohort]
        raise ValueError(f"{cohort}, line {lines[-1]}: {type(error).__name__}: {error}") from error
    if not found or not all(isinstance(source, Source) for source in found):
        raise ValueError(f"{cohort}: find_nights gave no list of Source; does it look where the recordings are?")
    sources = (replace(s, cohort=s.cohort or name) for s in found)
    return replace(whole, sources=tuple(sorted(sources, key=lambda source: source.night_id)))


def recordings_under(inputs: Sequence[Path], is_recording: Callable[[Path], bool], expected: str) -> list[Path]:
    """The recordings among the files given and under the folders given, sorted.

    Raises:
      ValueError: an input that is not there, or holds none; it says what was `expected`.
    """
    recordings: set[Path] = set()
    for given in map(Path, inputs):
        if not given.exists():
            raise ValueError(f"{given}: no such file or folder")
        candidates = [given] if given.is_file() else [p for p in files_under(given) if not is_of_the_system(p)]
        found = {path for path in candidates if is_recording(path)}
        if not found:
            kinds = Counter(path.suffix.lower() or "no suffix" for path in candidates)
            there = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(5)) or "none"
            raise ValueError(f"{given}: no recording found; expected {expected}; files that are there: {there}")
        recordings |= found
    return sorted(recordings)


def files_under(folder: Path) -> Iterator[Path]:
    """All files under a folder, also where links lead, but for folders that are hidden or of a system; sorted."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(root))
        kept = (name for name in sorted(folders) if not name.startswith((".", "__MACOSX", "@eaDir")))
        folders[:] = [name for name in kept if os.path.realpath(Path(root, name)) not in seen]
        yield from (path for name in sorted(names) if (path := Path(root, name)).is_file())


def is_of_the_system(path: Path) -> bool:
    """Whether a file is what an operating system leaves beside others, such as `._night.edf`."""
    return path.name.startswith("._") or path.name.lower() in (".ds_store", "thumbs.db", "desktop.ini")


def _adapter(cohort: str) -> ModuleType:
    if not cohort.endswith(".py"):
        known = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
        if cohort not in known:
            problem = f"no cohort {cohort!r}; expected one of {', '.join(known)}, or the path of an adapter, my_lab.py"
            raise ValueError(problem)
        return importlib.import_module(f"{__name__}.{cohort}")
    if not Path(cohort).is_file():
        raise ValueError(f"{cohort}: no such adapter file")
    spec = importlib.util.spec_from_file_location(f"cohort_{Path(cohort).stem}", cohort)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "find_nights"):
        raise ValueError(f"{cohort}: an adapter defines find_nights(inputs) -> list[Source]; this file does not")
    return module
