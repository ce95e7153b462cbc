"""A folder for one process alone: two that fill the same one would spoil each other's work."""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO


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
