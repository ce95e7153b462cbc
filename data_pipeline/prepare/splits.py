"""Who trains and who is held out: by person, and so that nobody moves when others join."""

import hashlib
from collections.abc import Sequence

from data_pipeline.cohorts import Source


def assign_splits(sources: Sequence[Source], *, val_share: float, test_share: float) -> dict[str, str]:
    """The split of each night, the same for all nights of a subject.

    A subject goes where its data set says, else where a hash of its id falls.

    Args:
      sources: all nights of the data set.
      val_share, test_share: share of subjects held out for validation and testing, 0..1; the rest trains.
    Returns:
      night_id -> "train", "val" or "test".
    Raises:
      ValueError: the data set puts nights of one subject into different splits.
    """
    fixed: dict[str, str] = {}
    for source in sources:
        if source.split is not None and fixed.setdefault(source.subject_id, source.split) != source.split:
            raise ValueError(
                f"subject {source.subject_id} is in split {fixed[source.subject_id]} and in {source.split} "
                f"(night {source.night_id}); expected all nights of a person in one"
            )
    splits = {}
    for source in sources:
        place = int.from_bytes(hashlib.sha256(source.subject_id.encode()).digest()[:8]) / 2**64
        held_out = "test" if place < test_share else "val"
        by_hash = held_out if place < test_share + val_share else "train"
        splits[source.night_id] = fixed.get(source.subject_id, by_hash)
    return splits
