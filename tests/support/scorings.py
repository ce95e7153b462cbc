"""A file of a scoring, of whatever a test says stands in it."""

import json
from pathlib import Path


def write(path: Path, content) -> Path:
    """Writes bytes and text as they are, anything else as JSON; gives the path."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
