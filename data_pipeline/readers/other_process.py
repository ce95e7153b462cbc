"""A file that may end the process that reads it, or hold it for ever, is read by another one."""

import subprocess
import sys
from pathlib import Path

from data_pipeline.night import RecordingError


def said_of(path: Path, program: Path, longest_s: float, refused: str) -> bytes:
    """What `program path` prints.

    Args:
      longest_s: how long it may take.
      refused: what is wrong with a file that it refuses, and what to do.

    Raises:
      RecordingError: it took longer, refused the file, or was ended by it.
    """
    command = [sys.executable, "-P", program, path.absolute()]  # -P: no module of its folder is imported
    try:
        done = subprocess.run(command, capture_output=True, timeout=longest_s)
    except subprocess.TimeoutExpired:
        problem = f"still unread after {longest_s:.0f} s. It is damaged: export it again."
        raise RecordingError(path, problem) from None
    if done.returncode < 0:
        raise RecordingError(path, "damaged, it ended the process that read it. Copy or export it again.")
    if done.returncode:
        raise RecordingError(path, refused)
    return done.stdout
