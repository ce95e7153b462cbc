"""A folder for one process alone: two that fill the same one would spoil each other's work."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

LOCK = ".lock"
"""In a folder that a process works in; it may be there, unlocked, where one was killed."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside for the same folder, which is made if it is not there, and not left empty.

    Raises:
      ValueError: another process has it. It says so, and who asked leaves.
    """
    is_new = not folder.exists()
    file = _open_in(folder)
    if file is None:
        raise ValueError(f"{folder}: another run is working in this folder; wait for it, stop it, or choose another")
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # something was put into it
                folder.rmdir()
        file.close()


def _open_in(folder: Path) -> BinaryIO | None:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return open_alone(folder / LOCK)
        except FileNotFoundError:
            pass  # who had made the folder took it away as we came


def open_alone(path: Path) -> BinaryIO | None:
    """A file opened to append to, and locked until it is closed; None while another process has it so.

    Who has it may remove it before closing it.
    """
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:
            return file  # a file system without locks
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()  # who had it removed it as we came
