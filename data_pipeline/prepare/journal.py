"""What a run has done so far, so that one that was killed goes on where it was.

Each finished night is a line of `manifest.partial.jsonl`, written when its shard is whole. When all are done the
manifest takes its place, and `sources.jsonl` remembers how the source files looked, so that the next run need not
read them to see that they are the same. Both may be deleted: what they knew is then found out again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.from_json import from_json
from data_pipeline.lock import open_alone
from data_pipeline.shards.manifest import (
    MANIFEST,
    Manifest,
    NightEntry,
    json_line,
    night_from_json,
    read_manifest,
    write_lines,
)

JOURNAL = "manifest.partial.jsonl"
SEEN = "sources.jsonl"


@dataclass(frozen=True)
class FileSeen:
    """A source file as it was when it was read.

    Attributes:
      size: bytes.
      modified_ns, changed_ns: times of its content and of its inode. Copying tools set the first back to what
        it was; the second they cannot.
      sha256: of its bytes.
    """

    size: int
    modified_ns: int
    changed_ns: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> FileSeen:
        """Reads the whole file."""
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(state.st_size, state.st_mtime_ns, state.st_ctime_ns, sha256)

    def is_still(self, path: Path) -> bool:
        """Whether the file looks as it did: its size and times, not its bytes."""
        try:
            state = path.stat()
        except OSError:
            return False
        return (state.st_size, state.st_mtime_ns, state.st_ctime_ns) == (self.size, self.modified_ns, self.changed_ns)


Seen = tuple[FileSeen, ...]
"""The source files of a night, in the order of recording and scorings."""


class Journal:
    """The open journal of a run, and the lock of its folder.

    Raises:
      ValueError: another run is preparing into this folder.
    """

    def __init__(self, out: Path):
        self._path = out / JOURNAL
        file = open_alone(self._path)
        if file is None:
            raise ValueError(f"{out}: another run is preparing into this folder; wait for it, or stop it")
        self._file = file
        if self._file.tell():
            self._file.write(b"\n")  # the last line may be cut

    def add(self, config_sha256: str, night: NightEntry, seen: Seen) -> None:
        """Remembers a night whose shard is whole."""
        line = {"config_sha256": config_sha256, "night": night, "seen": seen}
        self._file.write(json_line(line).encode())
        self._file.flush()

    def close(self, *, remove: bool) -> None:
        """Lets go of the folder; the journal stays if the next run needs it."""
        if remove or not self._file.tell():
            self._path.unlink(missing_ok=True)
        self._file.close()


def read_known(out: Path, config_sha256: str) -> tuple[dict[str, NightEntry], dict[str, Seen]]:
    """What earlier runs with these settings left: nights by id, and how their sources looked.

    What is damaged or of another version or setting is passed over; its nights are prepared again.
    """
    manifest = _manifest(out, config_sha256)
    nights = {night.night_id: night for night in manifest.nights} if manifest else {}
    seen: dict[str, Seen] = {}
    for name in (SEEN, JOURNAL):
        if not (out / name).is_file():
            continue
        with (out / name).open("rb") as file:
            for line in file:
                try:
                    value = json.loads(line)
                    files = from_json(Seen, value["seen"])
                    if name == SEEN:
                        seen[value["night_id"]] = files
                    elif value["config_sha256"] == config_sha256:
                        night = night_from_json(value["night"])
                        nights[night.night_id], seen[night.night_id] = night, files
                    else:  # its shard was written over since
                        nights.pop(value["night"]["night_id"], None)
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
    return nights, seen


def forget_other_settings(out: Path, config_sha256: str) -> None:
    """Removes a manifest of other settings or of another version: the shards that it claims will be written over."""
    if _manifest(out, config_sha256) is None:
        (out / MANIFEST).unlink(missing_ok=True)


def _manifest(out: Path, config_sha256: str) -> Manifest | None:
    """The folder's manifest, if it is there, whole, and of these settings."""
    try:
        manifest = read_manifest(out)
    except ValueError:
        return None
    return manifest if manifest.config_sha256 == config_sha256 else None


def write_seen(out: Path, seen: Mapping[str, Seen]) -> None:
    """Writes `sources.jsonl`, sorted by night."""
    write_lines(out / SEEN, ({"night_id": night_id, "seen": seen[night_id]} for night_id in sorted(seen)))
