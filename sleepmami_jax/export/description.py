"""`config.json` of a folder with weights: sealed when it is written, so that what was changed since is seen.

The seal is SHA-256 of everything else that the file says, in one spelling; the checksum of the weights is a part of
that. It tells of damage and of edits by hand. It is no signature: whoever makes a folder can seal it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from etils import epath

SEAL = "sha256"
MOST_BYTES = 2**24
"""Of a description; one of a model of all cohorts that we know has 30 kB."""


class ModelFolderError(ValueError):
    """A model folder that cannot be used; names the file and says what is wrong."""


def one_line(said: object) -> str:
    """What an error or a file says, whatever that is."""
    text = " ".join(str(said).encode("utf-8", "replace").decode().split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def seal(description: dict[str, Any]) -> str:
    """SHA-256 of a description, whatever order its keys have and whatever seal it bears.

    >>> seal({"a": 1, "b": 2}) == seal({"b": 2, "a": 1, "sha256": "any"})
    True
    """
    said = {name: value for name, value in description.items() if name != SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(description: dict[str, Any]) -> str:
    """The text of `config.json`."""
    return json.dumps({**description, SEAL: seal(description)}, indent=1) + "\n"


def unsealed(path: epath.Path, kind: str, version: int) -> dict[str, Any]:
    """What `config.json` says.

    Args:
      kind, version: of the folder, as its `format` and `version` must say.

    Raises:
      ModelFolderError: it is damaged, of another format or version, or was changed since it was written.
    """
    try:
        if path.stat().length > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        description = json.loads(path.read_text(), parse_constant=_no_number)
        json.dumps(description, ensure_ascii=False).encode()  # fails where a text has half a character
        is_of, whole = (description["format"], description["version"]), description[SEAL] == seal(description)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged or incomplete: {one_line(error)}") from error
    if is_of != (kind, version):
        found = " version ".join(one_line(said)[:40] for said in is_of)
        raise ModelFolderError(
            f"{path}: {found}; this program reads {kind} version {version}; export the model anew, or use the program "
            "that made it"
        )
    if not whole:
        raise ModelFolderError(
            f"{path} was changed after it was written, which no edit by hand may do; export the model again, or copy "
            "the whole folder again"
        )
    return description


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
