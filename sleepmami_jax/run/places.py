"""Where a run or a model lives: a folder on a disk, or one in a bucket of Google Cloud Storage (`gs://bucket/folder`)."""

from __future__ import annotations

import os
import re

from etils import epath

from sleepmami_jax.config import ConfigError


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether `path` begins with `gs://`, of which pathlib drops a slash."""
    return os.fspath(path).startswith("gs:/")


def folder_at(place: str | os.PathLike[str]) -> epath.Path:
    """`place` as a path that reads and writes on a disk and in a bucket alike.

    Raises:
      ConfigError: another kind of store, or what buckets need is not installed.
    """
    text = os.fspath(place)
    if in_bucket(text):
        try:
            import gcsfs  # noqa: F401 reads and writes for epath
            import google.cloud.storage  # noqa: F401 Orbax asks it what kind of bucket this is
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{text}: {error.name} is not installed, which buckets need; `pip install -e .[gcs]`"
            ) from error
        return epath.Path(re.sub("^gs:/+", "gs://", text))
    if scheme := re.match(r"\w{2,}:/", text):
        raise ConfigError(f"{text}: expected a folder, or gs://bucket/folder, found {scheme[0]}/")
    return epath.Path(text)


def check_bucket(folder: epath.Path) -> None:
    """Raises ConfigError if `folder` is in a bucket that cannot be looked at, and says why."""
    if not in_bucket(folder):
        return
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage import Client

    bucket = os.fspath(folder).removeprefix("gs://").split("/")[0]
    try:
        Client().get_bucket(bucket)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise ConfigError(
            f"{folder}: bucket {bucket!r} cannot be used ({error}); it has to exist, and your account needs "
            "`storage.buckets.get` and the right to read, write, list and delete its objects "
            "(`gcloud auth application-default login`; `GOOGLE_CLOUD_PROJECT` names the project)"
        ) from error
