"""Models on the Hugging Face hub. A repository is the twin's folder: PyTorch, transformers and we load the same files.

A model there is called `owner/name`, or `owner/name@revision` to have the same one tomorrow; `hf:` before it says that
no folder is meant. Of a repository nothing is fetched but a description, weights and the card, and nothing is run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sleepmami_jax.export.description import one_line
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError, load_model

READ = ("config.json", "model.safetensors", "README.md")
"""What is fetched of a repository."""
_PLACE = re.compile(r"(hf:)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?")


class Repository(NamedTuple):
    """A repository of models, and a branch, tag or commit of it; None is the newest."""

    name: str
    revision: str | None


def repository(place: str | PathLike[str]) -> Repository | None:
    """The repository that is meant; None where it is a folder.

    >>> repository("hf:lab/sleep@v1")
    Repository(name='lab/sleep', revision='v1')

    Raises:
      ModelFolderError: `hf:` and no name of a repository.
    """
    found = _PLACE.fullmatch(text := fspath(place))
    if found is None and text.startswith("hf:"):
        raise ModelFolderError(f"{text}: expected hf:owner/name, or hf:owner/name@revision")
    if found is None or (found[1] is None and Path(text).exists()):
        return None
    return Repository(found[2], found[3])


def open_model(place: str | PathLike[str]) -> ModelFolder:
    """A model: a folder or `BUNDLED`, see `load_model`, or one on the hub, which is kept for the next time.

    >>> open_model("demo/model").config.macro.levels
    3

    Raises:
      ModelFolderError: there is none, it cannot be fetched, or it is damaged.
    """
    meant = repository(place)
    if meant is None:
        return load_model(place)
    from sleepmami_jax.twin.folder import read_twin  # simulates nights, which whoever scores one need not import

    return read_twin(_fetched(meant))


def push(place: str | PathLike[str], name: str, *, private: bool = False) -> str:
    """Puts a model on the hub, and makes the repository if there is none.

    Args:
      place: as of `open_model`, of which the twin is made (needs torch); or a twin's folder, as it stands.
      name: `owner/name`.

    Returns:
      The commit, to be named behind an `@`.

    Raises:
      ModelFolderError: it cannot be read, or the hub does not take it.
    """
    from sleepmami_jax.twin.folder import FILES, read_twin, write_twin

    wanted = _PLACE.fullmatch(name)
    if wanted is None or wanted[3]:
        raise ModelFolderError(f"{name}: expected owner/name")
    repo = Repository(wanted[2], None)
    with _asking(repo) as hub:
        if hub.get_token() is None:
            raise ModelFolderError(f"{repo.name}: no token to write with; `hf auth login`, or set HF_TOKEN")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(place)
        if (folder / "sleepmami_torch.py").is_file():
            read_twin(folder)
        else:
            folder = Path(scratch) / "twin"
            write_twin(open_model(place), folder)
        with _asking(repo) as hub:
            api, says = hub.HfApi(), f"sleepmami {version('sleepmami')}"
            files = [*READ, "parity.json", "parity.md", *(path.name for path in FILES.glob("*.py"))]
            api.create_repo(repo.name, private=private, exist_ok=True)
            return api.upload_folder(
                repo_id=repo.name, folder_path=folder, allow_patterns=files, commit_message=says
            ).oid


def _fetched(repo: Repository) -> Path:
    with _asking(repo) as hub:
        return Path(hub.snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(READ)))


@contextmanager
def _asking(repo: Repository) -> Iterator[ModuleType]:
    """huggingface_hub; what it raises becomes one line that says what to do."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise ModelFolderError(
            f"{repo.name}: no such model folder here; one of this name on the Hugging Face hub needs {error.name}, "
            "which `pip install sleepmami[hub]` brings"
        ) from error
    try:
        yield hub
    except ModelFolderError:
        raise
    except errors.RepositoryNotFoundError as error:
        raise ModelFolderError(
            f"{repo.name}: neither a folder nor a model on the hub that you may see (`hf auth login`, or set HF_TOKEN)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelFolderError(f"{repo.name}: no revision {repo.revision!r} on the hub") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelFolderError(
            f"{repo.name}: no such folder here, it was not fetched before, and the hub cannot be reached (offline?)"
        ) from error
    except (errors.HTTPError, OSError, ValueError) as error:
        raise ModelFolderError(f"{repo.name}: the hub says: {one_line(error)}") from error
