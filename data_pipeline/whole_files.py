"""Files and folders that appear whole or not at all: whoever reads them never meets half of one.

Each is written under a hidden name beside its place, brought to the disk, and then renamed. A process that is killed
leaves such a name behind; it ends in `HALF`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

HALF = ".half"
"""What ends the name of a file that is still being written."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write a file under; the file is at `path` once the block has ended without an error, else nowhere."""
    half = path.with_name(f".{path.name}.{uuid4().hex}{HALF}")  # several processes may write the same file
    try:
        yield half
        with half.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the bytes
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file in one piece; text as UTF-8, line ends as they are.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a.txt", "N2")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    with whole_file(path) as half:
        half.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which replaces `path` and all that is in it once the block has ended without error.

    Where the folder itself has to stay (somebody's working directory, a mount point, the end of a link, in a folder
    that may not be written) its files are replaced, each whole, and those gone that are not among the new ones.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = _must_stay(path)
    place = path if inside else path.parent
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=HALF, dir=place) as scratch:
        fresh, earlier = Path(scratch) / "fresh", Path(scratch) / "earlier"
        fresh.mkdir()
        yield fresh
        if inside:
            _replace_files(path, fresh, Path(scratch))
            return
        if path.exists():
            path.rename(earlier)
        try:
            fresh.rename(path)
        except OSError:
            if earlier.exists():
                earlier.rename(path)
            raise


def _must_stay(path: Path) -> bool:
    """Whether a folder that is there may not be renamed. `path` is resolved."""
    if not path.is_dir():
        return False
    here = Path.cwd()
    return path in (here, *here.parents) or path.is_mount() or not os.access(path.parent, os.W_OK)


def _replace_files(path: Path, fresh: Path, scratch: Path) -> None:
    """Puts what is in `fresh` into `path` instead of all that is there but `scratch`."""
    for old in path.iterdir():
        if old != scratch and not (fresh / old.name).exists():
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink()
    for new in sorted(fresh.iterdir()):
        if new.is_dir():
            shutil.rmtree(path / new.name, ignore_errors=True)
        new.replace(path / new.name)
