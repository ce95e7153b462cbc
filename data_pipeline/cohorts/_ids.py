"""What nights are called by their files' names: letters, digits, `.`, `_` and `-`, and no two alike."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_OF_A_PERSON = 5
"""Recordings that a folder of one person holds at most: more are a laboratory's."""


@dataclass(frozen=True)
class Id:
    """What a night is called, and whose it is: "" where only the night's own name tells."""

    night_id: str
    person: str = ""


def safe_id(name: str) -> str:
    """A file's name as the id of a night. Letters that have none of ASCII leave a digest, so that no two are alike.

    >>> safe_id("Müller 1"), safe_id("a night")
    ('Muller_1', 'a_night')
    """
    whole = unicodedata.normalize("NFC", name)
    letters = [(c, unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()) for c in whole]
    lost = any(not plain and c.isalnum() for c, plain in letters)
    plain = "".join(plain or c for c, plain in letters)
    night_id = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).lstrip("._-")
    if not lost and night_id:
        return night_id
    return f"{night_id.strip('._-') or 'night'}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def unique_ids(nights: Sequence[tuple[str, tuple[Path, ...]]], inputs: Sequence[Path]) -> Mapping[Path, Id]:
    """First file of each night -> its id. Nights of one name get their folders before it, or their suffix after it.

    Recordings of one name in different folders: where the folders hold few each, each is a person's.
    """
    ids = {paths[0]: safe_id(name) for name, paths in nights}
    many: dict[Path, int] = {}
    for path in ids:
        many[path.parent] = many.get(path.parent, 0) + 1
    persons: dict[Path, str] = {}
    several = [{path.parent for path in paths} for paths in _twice(ids)]
    folders = set().union(*(group for group in several if len(group) > 1))
    for path in ids:
        if path.parent in folders:
            inside = _inside(path, inputs).parts[:-1]
            ids[path] = safe_id("-".join([*inside, ids[path]]))
            persons[path] = str(path.parent) if many[path.parent] <= _OF_A_PERSON else ""
    for path in chain(*_twice(ids)):
        ids[path] = f"{ids[path]}-{safe_id(path.suffix[1:].lower())}"
    for path in chain(*_twice(ids)):  # such as "A.edf" and "a.edf"
        ids[path] = f"{ids[path]}-{hashlib.sha256('/'.join(path.parts[-3:]).encode()).hexdigest()[:8]}"
    return {path: Id(night_id, persons.get(path, "")) for path, night_id in ids.items()}


def _twice(ids: Mapping[Path, str]) -> list[list[Path]]:
    """The files that share an id, without regard to case: some file systems would give all the same shard."""
    called: dict[str, list[Path]] = {}
    for path, night_id in ids.items():
        called.setdefault(night_id.casefold(), []).append(path)
    return [paths for paths in called.values() if len(paths) > 1]


def _inside(path: Path, inputs: Sequence[Path]) -> Path:
    """A file's place in the folder that was given; where it was given itself, its own folder's name tells of it."""
    given = [Path(folder) for folder in inputs if Path(folder).is_dir() and Path(folder) in path.parents]
    return path.relative_to(max(given, key=lambda folder: len(folder.parts))) if given else Path(*path.parts[-2:])
