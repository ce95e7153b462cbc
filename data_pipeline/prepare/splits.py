"""Who trains and who is held out: by person, and so that nobody moves when others join."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from data_pipeline.cohorts import Source
from data_pipeline.prepare.journal import Seen
from data_pipeline.shards.manifest import NightEntry


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
        person = source.subject_id.casefold()
        if source.split is not None and fixed.setdefault(person, source.split) != source.split:
            raise ValueError(
                f"subject {source.subject_id} is in split {fixed[person]} and in {source.split} "
                f"(night {source.night_id}); expected all nights of a person in one"
            )
    splits = {}
    spelled: dict[str, str] = {}  # "P1" and "p1" are one person
    for source in sources:
        subject_id = spelled.setdefault(source.subject_id.casefold(), source.subject_id)
        place = int.from_bytes(hashlib.sha256(subject_id.encode()).digest()[:8]) / 2**64
        held_out = "test" if place < test_share else "val"
        by_hash = held_out if place < test_share + val_share else "train"
        splits[source.night_id] = fixed.get(source.subject_id.casefold(), by_hash)
    return splits


def check_splits(nights: Iterable[NightEntry]) -> None:
    """Asserts that no person is in two splits.

    Raises:
      RuntimeError: somebody is.
    """
    splits: dict[str, str] = {}
    for night in nights:
        if splits.setdefault(night.subject_id.casefold(), night.split) != night.split:
            raise RuntimeError(f"night {night.night_id}: its person is in two splits; nothing was written")


def same_content(nights: Mapping[str, NightEntry], seen: Mapping[str, Seen]) -> dict[str, str]:
    """Night -> another with the same recording: the same bytes of its file, or the same samples of each channel.

    Of nights that are the same one stays: with a scoring before one without, then as the ids are sorted.
    """
    first: dict[object, str] = {}
    twice: dict[str, str] = {}
    for night_id in sorted(nights, key=lambda night_id: (not nights[night_id].scored, night_id)):
        night = nights[night_id]
        keys: list[object] = [seen[night_id][0].sha256]
        if any(channel.iqr for channel in night.channels):
            facts = ((c.slot, c.source_rate_hz, c.median, c.iqr, c.scale, c.offset) for c in night.channels)
            keys.append((night.duration_s, *facts))
        other = next((first[key] for key in keys if key in first), None)
        if other is None:
            first |= dict.fromkeys(keys, night_id)
        else:
            twice[night_id] = other
    return twice
