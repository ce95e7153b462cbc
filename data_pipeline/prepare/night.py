"""One night of a run: from its files to its shard and its line in the manifest, or why it was refused."""

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from data_pipeline.cohorts import Source
from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Channel, Night, RecordingError, blocks
from data_pipeline.prepare.journal import FileSeen, Seen
from data_pipeline.prepare.summary import Refusal, Rejection
from data_pipeline.prepare.workers import ProcessDied
from data_pipeline.readers import files_of
from data_pipeline.shards.epochs import night_epochs
from data_pipeline.shards.files import write_shard
from data_pipeline.shards.manifest import SHARD_SUFFIX, ChannelEntry, NightEntry, channel_entry, digest, stage_string
from data_pipeline.shards.records import encode_epoch
from data_pipeline.shards.scale import Meter, storage_ranges

Made = TypeVar("Made")
SCORING_NOT_READ = "Scoring that is not used,"
"""How the note of a night begins whose scoring cannot be read."""


class OutputError(OSError):
    """The output cannot be written: no recording's fault, so the run stops, and goes on when it is mended."""


@dataclass(frozen=True)
class Job:
    """One night to prepare; what a worker needs to know. If `strict`, a scoring that cannot be read refuses it."""

    source: Source
    split: str
    out: Path
    known: NightEntry | None
    load: Callable[..., Night]
    strict: bool = False


@dataclass(frozen=True)
class Prepared:
    """A night that is in its shard; `kept` says that it was there and did not have to be made again."""

    entry: NightEntry
    seen: Seen
    kept: bool = False


def run_job(job: Job) -> Prepared | Rejection:
    """Prepares one night, or says why it is refused.

    Raises:
      OutputError: the shard cannot be written.
      FileNotFoundError: a source is not there.
    """
    # One thread of linear algebra each: workers do not fight for cores, and sums have one order everywhere.
    with threadpool_limits(1):
        return refused_by(job.source, partial(_prepare_night, job))


def refused_by(source: Source, work: Callable[[], Made]) -> Made | Rejection:
    """What `work` makes of a night, or why its files refuse to be read. Errors as of `run_job`."""
    try:
        return work()
    except (OutputError, FileNotFoundError):
        raise
    except RecordingError as error:
        kind = Refusal.SCORING if error.path in source.scoring else Refusal.RECORDING
        return _refused(source, kind, error.path, error.problem)
    except OSError as error:
        culprit = error.filename or source.recording
        return _refused(source, Refusal.RECORDING, culprit, error.strerror or str(error))


def rejection_of(source: Source, error: Exception) -> Rejection:
    """Why a night is refused whose job ended in an error; raises instead what is no recording's fault."""
    if isinstance(error, OutputError):
        raise error
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        if Path(error.filename).exists():
            raise RuntimeError(f"a worker does not see a file that is here, {error.filename}: mount it there")
        return _refused(source, Refusal.GONE, error.filename, "no such file any more")
    if isinstance(error, ProcessDied):
        return _refused(source, Refusal.PROCESS_DIED, "", str(error))
    problem = f"unexpected {type(error).__name__}: {error} (an error of ours: please report it)"
    return _refused(source, Refusal.OUR_ERROR, "", problem)


def _refused(source: Source, kind: Refusal, culprit: Path | str, problem: str) -> Rejection:
    return Rejection(source.night_id, source.recording.name, kind, Path(culprit).name, problem)


def _prepare_night(job: Job) -> Prepared | Rejection:
    source, shard = job.source, shard_path(job.out, job.source.night_id)
    seen = seen_now(source)
    sha256 = _made_of(job, seen)
    if job.known is not None and _matches(job, sha256):
        return Prepared(job.known, seen, kept=True)
    night = loaded(source, job.load, strict=job.strict)
    if night.n_epochs == 0:
        raise RecordingError(source.recording, f"{night.duration_s} s long; expected at least {EPOCH_S} s")
    with _reading(source):
        ranges = storage_ranges(night)
    with writing(shard):
        records_sha256, channels = _write(job, night, ranges)
        shard_bytes = shard.stat().st_size
    if not any(channel.normalisable() for channel in channels):
        raise RecordingError(source.recording, f"no channel has a good second in {len(channels)} channels")
    if not look_the_same(source, seen):
        problem = "changed while it was read; run again when it is complete"
        return _refused(source, Refusal.CHANGED, source.recording, problem)
    scoring = night.scoring
    stages = np.full(night.n_epochs, UNKNOWN_STAGE) if scoring is None else scoring.stages
    entry = NightEntry(
        night_id=source.night_id,
        subject_id=source.subject_id,
        site=night.site,
        cohort=source.cohort,
        split=job.split,
        shard=shard.name,
        shard_bytes=shard_bytes,
        records_sha256=records_sha256,
        source_sha256=sha256,
        n_epochs=night.n_epochs,
        duration_s=night.duration_s,
        channels=channels,
        demographics=night.demographics,
        scored=() if scoring is None else tuple(sorted(map(str, scoring.scored))),
        stages=stage_string(stages),
        event_counts=dict(sorted(Counter(str(e.kind) for e in scoring.events).items())) if scoring else {},
        notes=night.notes,
        lights_s=night.lights_s,
    )
    return Prepared(entry, seen)


def loaded(source: Source, load: Callable[..., Night], *, strict: bool = False) -> Night:
    """The night with every scoring that can be read; of one that cannot it says so, and serves without it.

    Args:
      load: as `open_night`; strict: a scoring that cannot be read refuses the night instead.
    """
    scoring, lost = list(source.scoring), []
    told = ("night_id", "subject_id", "site", "demographics", "scored", "dialect", "terms", "unusable")
    how = {name: getattr(source, name) for name in told} | ({"parts": source.parts} if source.parts else {})
    while True:
        try:
            night = load(source.recording, tuple(scoring), **how)
        except RecordingError as error:
            if strict or error.path not in scoring:
                raise
            scoring.remove(error.path)
            lost.append(f"{SCORING_NOT_READ} {error.path.name}: {error.problem}")
        else:
            return replace(night, notes=(*night.notes, *lost)) if lost else night


def _write(job: Job, night: Night, ranges: dict[str, tuple[float, float]]) -> tuple[str, tuple[ChannelEntry, ...]]:
    """Writes a night's shard as it passes by, a block at a time; the records' SHA-256, the channels' entries."""
    meters = {slot: Meter(night.duration_s, *range_) for slot, range_ in ranges.items()}
    last: tuple[Channel, ...] = ()

    def pieces() -> Iterator[tuple[Channel, ...]]:
        nonlocal last
        for span in blocks(night.duration_s):
            with _reading(job.source):
                last = night.read(*span)
            for channel in last:
                meters[channel.slot].add(channel)
            yield last

    records_sha256 = write_shard(
        shard_path(job.out, job.source.night_id), (encode_epoch(e) for e in night_epochs(night, ranges, pieces()))
    )
    return records_sha256, tuple(channel_entry(c, meters[c.slot].scale(), meters[c.slot].quality) for c in last)


def is_kept(job: Job, seen: Seen) -> bool:
    """Whether a finished night is still good, by the size and times of its sources."""
    try:
        unchanged = look_the_same(job.source, seen)
    except (RecordingError, OSError):
        return False  # preparing it will say what is wrong
    return unchanged and _matches(job, _made_of(job, seen))


def _matches(job: Job, source_sha256: str) -> bool:
    size = shard_path(job.out, job.source.night_id).stat().st_size
    return job.known.source_sha256 == source_sha256 and job.known.shard_bytes == size


def seen_now(source: Source) -> Seen:
    """All files of a night, read through."""
    return tuple(FileSeen.read(path) for path in _files(source))


def look_the_same(source: Source, seen: Seen) -> bool:
    """Whether the files of a night are those, by their size and times. Raises as `files_of`."""
    files = _files(source)
    return len(files) == len(seen) and all(map(FileSeen.is_still, seen, files))


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """A recording that cannot be read any further is refused; whatever its reader raises is not the output's fault."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RecordingError(source.recording, f"cannot be read any further: {why}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells errors of the output from those of a recording. ArrayRecord raises RuntimeError."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path}: cannot be written on {platform.node()}: {error}. Finished nights are kept: mend it (free "
            "space, rights, the shared folder), then give the same command again"
        ) from error


def _files(source: Source) -> tuple[Path, ...]:
    recording = (path for part in (source.recording, *source.parts) for path in files_of(part))
    return (*recording, *source.scoring)


def source_sha256(source: Source, seen: Seen, *facts: str) -> str:
    """Digest of everything a night is made from: the bytes of its files, and what the cohort says of it."""
    told = [
        source.night_id,
        source.subject_id,
        source.site,
        source.cohort,
        sorted(source.scored) if source.scored is not None else None,
        source.dialect,
        sorted((word, *astuple(meaning)) for word, meaning in source.terms.items()),
        sorted(source.unusable),
        *facts,
        asdict(source.demographics),
    ]
    return digest([[file.sha256 for file in seen], told])


def _made_of(job: Job, seen: Seen) -> str:
    return source_sha256(job.source, seen, job.split)


def shard_path(out: Path, night_id: str) -> Path:
    """Where the shard of a night lies in a prepared folder."""
    return out / f"{night_id}{SHARD_SUFFIX}"
