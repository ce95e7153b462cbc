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


class ModelFolderError(ValueError):
    """A model folder that cannot be used; names the file and says what is wrong."""


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
        description = json.loads(path.read_text())
        is_of = description["format"], description["version"]
        if is_of != (kind, version):
            raise ModelFolderError(
                f"{path}: {str(is_of[0])[:40]} version {str(is_of[1])[:40]}; this program reads {kind} version "
                f"{version}; export the model anew, or use the program that made it"
            )
        whole = description[SEAL] == seal(description)
    except ModelFolderError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged or incomplete: {error}") from error
    if not whole:
        raise ModelFolderError(
            f"{path} was changed after it was written, which no edit by hand may do; export the model again, or copy "
            "the whole folder again"
        )
    return description
