"""Recordings in, shards out: one file a night, a manifest, and a list of what was refused and why.

A run that was stopped goes on where it was: each finished night leaves a small manifest of its own beside its
shard until the manifest of all is written, and a night whose sources and settings have not changed is kept.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
from threadpoolctl import threadpool_limits

from data_pipeline.cohorts import Source, find_nights
from data_pipeline.load import RecordedNight, open_night
from data_pipeline.manifest import (
    MANIFEST,
    SHARD_SUFFIX,
    VERSION,
    ChannelEntry,
    Manifest,
    NightEntry,
    channel_entry,
    digest,
    is_safe_name,
    read_manifest,
    stage_string,
    write_lines,
    write_manifest,
)
from data_pipeline.night import EPOCH_S, SLOTS, UNKNOWN_STAGE, Channel, Night, RecordingError, blocks
from data_pipeline.records import (
    RECORD_VERSION,
    add_record,
    decode_epoch,
    encode_epoch,
    night_epochs,
    open_shard,
    write_shard,
)
from data_pipeline.scale import Meter, storage_ranges

REJECTED = "rejected.jsonl"
_PARTIAL = ".partial.jsonl"
_HALF = ".half"


@dataclass(frozen=True)
class PrepareConfig:
    """Settings of preparation.

    Attributes:
      val_share, test_share: share of subjects held out for validation and testing, 0..1; the rest trains.
    """

    val_share: float = 0.1
    test_share: float = 0.1

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share > 1:
            raise ValueError(
                f"val_share {self.val_share} and test_share {self.test_share}: expected shares, sum <= 1"
            )

    def sha256(self) -> str:
        """Digest of the settings and of the formats' versions."""
        return digest({"manifest": VERSION, "record": RECORD_VERSION, "config": asdict(self)})


@dataclass(frozen=True)
class Rejection:
    """A recording that was refused: its night, its file's name without folder, and why."""

    night_id: str
    file: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
      nights: everything that is in the manifest now.
      kept: how many of them were there already.
      rejected: sorted by night.
    """

    nights: tuple[NightEntry, ...]
    kept: int
    rejected: tuple[Rejection, ...]

    def table(self) -> str:
        """A few lines for a person: what was accepted, how much of it is masked, what was refused and why."""
        epochs = sum(night.n_epochs for night in self.nights)
        staged = epochs - sum(night.stages.count("?") for night in self.nights)
        splits = Counter(night.split for night in self.nights)
        lines = [
            f"accepted  {len(self.nights)} nights ({self.kept} kept from before), "
            f"{epochs} epochs, {epochs * EPOCH_S / 3600:.1f} h, {staged} epochs staged",
            f"split     train {splits['train']}, val {splits['val']}, test {splits['test']}",
        ]
        for modality, slots in SLOTS.items():
            for slot in slots:
                there = [(n.n_epochs, c) for n in self.nights for c in n.channels if c.slot == slot]
                if there:
                    masked = 1 - sum(e * c.good_share for e, c in there) / sum(e for e, _ in there)
                    lines.append(f"{modality:<5} {slot:<15} {len(there):>5} nights, {masked:6.1%} masked")
        lines.append(f"rejected  {len(self.rejected)} recordings")
        for rejection in self.rejected:  # whole reasons are in rejected.jsonl
            reason = rejection.reason.removeprefix(f"{rejection.file}: ")
            lines.append(f"  {rejection.file}: {shorten(reason, 160, placeholder=' …')}")
        return "\n".join(lines)


def prepare(
    inputs: Sequence[Path],
    out: Path,
    *,
    cohort: str = "generic",
    workers: int = 1,
    config: PrepareConfig | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    load: Callable[..., Night | RecordedNight] = open_night,
) -> Summary:
    """Prepares recordings into `out`: `<night_id>.array_record`, `manifest.jsonl`, `rejected.jsonl`.

    The same inputs and settings give the same bytes, whatever the number of workers and interruptions.

    Args:
      inputs: files and folders, searched as the cohort does.
      out: the folder to fill; made when it is not there. It belongs to these inputs alone.
      cohort: a module of `data_pipeline.cohorts`.
      workers: processes; one works in this process.
      config: settings; a change of them prepares everything again.
      progress: called with (nights done, nights in all, night_id) after each.
      load: opens one night; must be importable by name when there are several workers.

    Raises:
      ValueError: nothing to prepare, two nights with one id, or `out` holds nights that are not among the
        inputs.
    """
    config = config or PrepareConfig()
    out = Path(out)
    sources = find_nights(inputs, cohort)
    _check_ids(sources)
    splits = assign_splits(sources, config)
    out.mkdir(parents=True, exist_ok=True)
    for half in out.glob(f"*{_HALF}"):
        half.unlink()
    known = _known_nights(out, config.sha256())
    if foreign := set(known) - {source.night_id for source in sources}:
        raise ValueError(
            f"{out} holds {len(foreign)} nights that are not among the inputs, such as {min(foreign)}; "
            "give all inputs of a data set together, or prepare into a new folder"
        )
    jobs = [_Job(s, splits[s.night_id], cohort, out, config, known.get(s.night_id), load) for s in sources]
    nights, rejected, kept = [], [], 0
    for done, (job, result) in enumerate(_run_all(jobs, workers), start=1):
        if result is None:
            nights.append(job.known)
            kept += 1
        elif isinstance(result, NightEntry):
            nights.append(result)
        else:
            rejected.append(Rejection(job.source.night_id, job.source.recording.name, result))
            _shard(out, job.source.night_id).unlink(missing_ok=True)
            _partial(out, job.source.night_id).unlink(missing_ok=True)
        if progress is not None:
            progress(done, len(jobs), job.source.night_id)
    nights.sort(key=lambda night: night.night_id)
    rejected.sort(key=lambda rejection: rejection.night_id)
    write_lines(out / REJECTED, [asdict(rejection) for rejection in rejected])
    write_manifest(out / MANIFEST, Manifest(asdict(config), config.sha256(), tuple(nights)))
    for partial in out.glob(f"*{_PARTIAL}"):
        partial.unlink()
    return Summary(tuple(nights), kept, tuple(rejected))


def assign_splits(sources: Sequence[Source], config: PrepareConfig) -> dict[str, str]:
    """The split of each night, the same for all nights of a subject.

    A subject goes where its data set says, else where a hash of its id falls, so that nobody moves when
    others join.

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
        held_out = "test" if place < config.test_share else "val"
        by_hash = held_out if place < config.test_share + config.val_share else "train"
        splits[source.night_id] = fixed.get(source.subject_id, by_hash)
    return splits


def verify(folder: Path) -> list[str]:
    """Reads every record of a prepared folder; what is wrong, a sentence each, [] when nothing is."""
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return [str(error)]
    problems = [problem for night in manifest.nights for problem in _shard_problems(folder, night)]
    expected = {night.shard for night in manifest.nights}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(SHARD_SUFFIX) and path.name not in expected:
            problems.append(
                f"shard {path} is not in the manifest; delete it or run `sleepmami prepare` again"
            )
        if path.name.endswith((_HALF, _PARTIAL)):
            problems.append(f"{path} was left by a run that did not finish; run `sleepmami prepare` again")
    return problems


def _shard_problems(folder: Path, night: NightEntry) -> Iterator[str]:
    path = folder / night.shard
    checksum = hashlib.sha256()
    try:
        reader = open_shard(path, night.n_epochs)
        for index in range(night.n_epochs):
            (record,) = reader.read([index])
            add_record(checksum, record)
            epoch = decode_epoch(record)
            if (epoch.night_id, epoch.index, epoch.n_epochs) != (night.night_id, index, night.n_epochs):
                yield f"shard {path}: epoch {index} is epoch {epoch.index} of night {epoch.night_id}"
            if epoch.stage != night.stage_codes[index]:
                yield f"shard {path}: epoch {index} has stage {epoch.stage}, not {night.stages[index]}"
    except ValueError as error:
        yield str(error) if str(path) in str(error) else f"shard {path}: {error}"
    except (RuntimeError, IndexError) as error:
        yield f"shard {path} is damaged: {error}"
    else:
        if checksum.hexdigest() != night.records_sha256:
            yield f"shard {path}: the SHA-256 of its records is not the manifest's"


@dataclass(frozen=True)
class _Job:
    """One night to prepare; what a worker needs to know."""

    source: Source
    split: str
    cohort: str
    out: Path
    config: PrepareConfig
    known: NightEntry | None
    load: Callable[..., Night | RecordedNight]


def _run(job: _Job) -> NightEntry | str | None:
    """Prepares one night: its manifest entry, None when what is known still holds, or why it was refused."""
    # One thread of linear algebra each: workers do not fight for cores, and sums have one order everywhere.
    with threadpool_limits(1):
        try:
            return _prepare_night(job)
        except (RecordingError, OSError) as error:
            return str(error).replace(f"{job.source.recording.parent}/", "")


def _prepare_night(job: _Job) -> NightEntry | None:
    source, shard = job.source, _shard(job.out, job.source.night_id)
    source_sha256 = _source_sha256(job)
    known = job.known
    if (
        known is not None
        and known.source_sha256 == source_sha256
        and shard.stat().st_size == known.shard_bytes
    ):
        return None
    night = job.load(
        source.recording,
        source.scoring,
        night_id=source.night_id,
        subject_id=source.subject_id,
        site=source.site,
        demographics=source.demographics,
        scored=source.scored,
        dialect=source.dialect,
    )
    if night.n_epochs == 0:
        raise RecordingError(
            f"{source.recording.name}: {night.duration_s} s long; expected at least {EPOCH_S} s"
        )
    records_sha256, channels = _write(shard, night)
    if not any(channel.normalisable() for channel in channels):
        raise RecordingError(
            f"{source.recording.name}: no channel has a good second in {len(channels)} channels"
        )
    scoring = night.scoring
    stages = np.full(night.n_epochs, UNKNOWN_STAGE) if scoring is None else scoring.stages
    entry = NightEntry(
        night_id=source.night_id,
        subject_id=source.subject_id,
        site=night.site,
        cohort=source.cohort or job.cohort,
        split=job.split,
        shard=shard.name,
        shard_bytes=shard.stat().st_size,
        records_sha256=records_sha256,
        source_sha256=source_sha256,
        n_epochs=night.n_epochs,
        duration_s=night.duration_s,
        channels=channels,
        demographics=night.demographics,
        scored=() if scoring is None else tuple(sorted(map(str, scoring.scored))),
        stages=stage_string(stages),
        event_counts=dict(sorted(Counter(str(e.kind) for e in scoring.events).items())) if scoring else {},
        notes=night.notes,
    )
    write_manifest(
        _partial(job.out, source.night_id), Manifest(asdict(job.config), job.config.sha256(), (entry,))
    )
    return entry


def _write(shard: Path, night: Night | RecordedNight) -> tuple[str, tuple[ChannelEntry, ...]]:
    """Writes a night's shard as it passes by, a block at a time; the records' SHA-256, the channels' entries."""
    ranges = storage_ranges(night)
    meters = {slot: Meter(night.duration_s, *range_) for slot, range_ in ranges.items()}
    last: tuple[Channel, ...] = ()

    def pieces() -> Iterator[tuple[Channel, ...]]:
        nonlocal last
        for span in blocks(night.duration_s):
            last = night.read(*span)
            for channel in last:
                meters[channel.slot].add(channel)
            yield last

    records_sha256 = write_shard(shard, (encode_epoch(e) for e in night_epochs(night, ranges, pieces())))
    return records_sha256, tuple(
        channel_entry(c, meters[c.slot].scale(), meters[c.slot].quality) for c in last
    )


def _run_all(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, NightEntry | str | None]]:
    """Each job and its result, as they finish. A worker that dies takes no other night with it."""
    if workers == 1:
        # A thread, so that an error nobody foresaw ends its own night only, as in a worker process.
        yield from _run_on(ThreadPoolExecutor(1), jobs)
        return
    orphans = []
    for job, result in _run_on(_processes(workers), jobs):
        if isinstance(result, BrokenProcessPool):
            orphans.append(
                job
            )  # one of these killed the pool; each gets a process of its own to find out which
        else:
            yield job, result
    for orphan in orphans:
        for job, result in _run_on(_processes(1), [orphan]):
            died = isinstance(result, BrokenProcessPool)
            yield job, "the process that read it died, perhaps for want of memory" if died else result


def _run_on(
    executor: Executor, jobs: list[_Job]
) -> Iterator[tuple[_Job, NightEntry | str | BrokenProcessPool | None]]:
    try:
        futures: dict[Future, _Job] = {executor.submit(_run, job): job for job in jobs}
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield futures[future], future.result()
            elif isinstance(error, BrokenProcessPool):
                yield futures[future], error
            elif not isinstance(error, Exception):
                raise error  # somebody stopped us
            else:
                yield (
                    futures[future],
                    f"unexpected {type(error).__name__}: {error} (an error of ours: please report it)",
                )
    finally:
        executor.shutdown(cancel_futures=True)


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _check_ids(sources: Sequence[Source]) -> None:
    seen: dict[str, Source] = {}
    for source in sources:
        if not is_safe_name(source.night_id):
            raise ValueError(
                f"{source.recording}: night id {source.night_id!r}; expected letters, digits, `.`, `_`, `-`"
            )
        # Without regard to case: some file systems would give both the same shard.
        other = seen.setdefault(source.night_id.casefold(), source)
        if other is not source:
            raise ValueError(
                f"{other.recording} and {source.recording} would both be night {source.night_id}; rename one "
                "or prepare them into different folders"
            )


def _known_nights(out: Path, config_sha256: str) -> dict[str, NightEntry | None]:
    """Nights that an earlier run left in `out`; None for one with other settings or of another version."""
    known: dict[str, NightEntry | None] = {
        path.name.removesuffix(SHARD_SUFFIX): None for path in out.glob(f"*{SHARD_SUFFIX}")
    }
    manifests = [path for path in (out / MANIFEST, *sorted(out.glob(f"*{_PARTIAL}"))) if path.is_file()]
    for path in manifests:
        try:
            manifest = read_manifest(path)
        except ValueError:
            continue  # of another version or damaged: its nights are prepared again
        if manifest.config_sha256 == config_sha256:
            known |= {night.night_id: night for night in manifest.nights if night.night_id in known}
    return known


def _source_sha256(job: _Job) -> str:
    """Digest of everything a night is made from: the bytes of its files, and what the cohort says of it."""
    files = []
    for path in (job.source.recording, *job.source.scoring):
        with path.open("rb") as file:
            files.append(hashlib.file_digest(file, "sha256").hexdigest())
    source = job.source
    facts = [
        source.night_id,
        source.subject_id,
        source.site,
        source.cohort or job.cohort,
        sorted(source.scored) if source.scored is not None else None,
        source.dialect,
        job.split,
        asdict(source.demographics),
    ]
    return digest([files, facts])


def _shard(out: Path, night_id: str) -> Path:
    return out / f"{night_id}{SHARD_SUFFIX}"


def _partial(out: Path, night_id: str) -> Path:
    return out / f"{night_id}{_PARTIAL}"
