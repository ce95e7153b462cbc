"""Recordings in, shards out: one file a night, a manifest, and a list of what was refused and why.

A run that was stopped goes on where it was (see `journal`): a night whose sources and settings have not changed
is kept. A source is taken as unchanged when its size and times are; `rehash` reads it to be sure.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from data_pipeline.cluster import run_on_ray
from data_pipeline.cohorts import Source, find_nights
from data_pipeline.journal import FileSeen, Journal, Seen, forget_other_settings, read_known, write_seen
from data_pipeline.load import RecordedNight, open_night
from data_pipeline.manifest import (
    HALF,
    MANIFEST,
    SHARD_SUFFIX,
    VERSION,
    ChannelEntry,
    Manifest,
    NightEntry,
    channel_entry,
    digest,
    is_safe_name,
    stage_string,
    write_lines,
    write_manifest,
)
from data_pipeline.montage_file import MontageRules
from data_pipeline.night import EPOCH_S, UNKNOWN_STAGE, Channel, Night, RecordingError, blocks
from data_pipeline.population_file import write_population
from data_pipeline.readers import files_of
from data_pipeline.records import RECORD_VERSION, encode_epoch, night_epochs, write_shard
from data_pipeline.scale import Meter, storage_ranges
from data_pipeline.splits import assign_splits
from data_pipeline.summary import Rejection, Summary
from data_pipeline.workers import ProcessDied, run_local

REJECTED = "rejected.jsonl"
PREPARATION = 1
"""To be raised when the same recording gives other channels, samples, flags or labels than before: it is then prepared
again, and a folder never holds nights of two kinds."""


class OutputError(OSError):
    """The output cannot be written: no recording's fault, so the run stops, and goes on when it is mended."""


@dataclass(frozen=True)
class PrepareConfig:
    """Settings of preparation.

    Attributes:
      val_share, test_share: share of subjects held out for validation and testing, 0..1; the rest trains.
      montage_sha256: digest of the montage file's content, "" without one.
    """

    val_share: float = 0.1
    test_share: float = 0.1
    montage_sha256: str = ""

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share > 1:
            raise ValueError(
                f"val_share {self.val_share} and test_share {self.test_share}: expected shares, sum <= 1"
            )

    def sha256(self) -> str:
        """Digest of the settings, of the formats' versions and of what is done to the samples."""
        versions = {"manifest": VERSION, "record": RECORD_VERSION, "preparation": PREPARATION}
        return digest(versions | {"config": asdict(self)})


def prepare(
    inputs: Sequence[Path],
    out: Path,
    *,
    cohort: str = "generic",
    workers: int = 1,
    ray: str | None = None,
    rehash: bool = False,
    config: PrepareConfig | None = None,
    montage: MontageRules | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    load: Callable[..., Night | RecordedNight] = open_night,
) -> Summary:
    """Prepares recordings into `out`: `<night_id>.array_record`, `manifest.jsonl`, `rejected.jsonl`, `population.json`.

    The same inputs and settings give the same bytes of these, whatever the workers and interruptions. A
    recording that was refused is tried again by the next run.

    Args:
      inputs: files and folders, searched as the cohort does.
      out: the folder to fill; made when it is not there. It belongs to these inputs alone.
      cohort: a module of `data_pipeline.cohorts`, or the path of an adapter of one's own.
      workers: processes on this machine; one works in this process.
      ray: address of a Ray cluster that works instead, see `cluster.run_on_ray`.
      rehash: reads sources of finished nights again, also where size and times say that they are the same.
      config: settings; a change of them prepares everything again.
      montage: what fills which slot, as in `load_night`; part of the settings.
      progress: called with (nights done, nights in all, night_id) after each.
      load: opens one night; must be importable by name when there are several workers.

    Raises:
      ValueError: nothing to prepare, two nights with one id, `out` holds nights that are not among the
        inputs, or another run is filling it.
      OutputError: `out` cannot be written. What was finished is kept, and the next run goes on.
      RuntimeError: a node of the cluster does not see the files or cannot import the code.
    """
    config = config or PrepareConfig()
    if montage is not None:
        config = replace(config, montage_sha256=montage.sha256())
        load = partial(load, montage=montage)
    out = Path(out)
    sources = find_nights(inputs, cohort)
    _check_ids(sources)
    splits = assign_splits(sources, val_share=config.val_share, test_share=config.test_share)
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        journal = Journal(out)
    complete = False
    try:
        with _writing(out):
            for half in out.glob(f"*{HALF}"):
                half.unlink()
        known, seen = read_known(out, config.sha256())
        shards = {path.name.removesuffix(SHARD_SUFFIX) for path in out.glob(f"*{SHARD_SUFFIX}")}
        if foreign := shards - {source.night_id for source in sources}:
            raise ValueError(
                f"{out} holds {len(foreign)} nights that are not among the inputs, such as {min(foreign)}; "
                "give all inputs of a data set together, or prepare into a new folder"
            )
        nights, rejected, files = {}, [], {}
        jobs = []
        for source in sources:
            night_id = source.night_id
            before = known.pop(night_id, None) if night_id in shards else None
            job = _Job(source, splits[night_id], out, config, before, load)
            if before is not None and not rehash and _is_kept(job, seen.get(night_id, ())):
                nights[night_id], files[night_id] = before, seen[night_id]
                if progress is not None:
                    progress(len(nights), len(sources), night_id)
            else:
                jobs.append(job)
        with _writing(out):
            forget_other_settings(out, config.sha256())
        kept = len(nights)
        run = partial(run_local, workers=workers) if ray is None else partial(run_on_ray, address=ray)
        with closing(run(_run, jobs)) as outcomes:
            for done, (job, outcome) in enumerate(outcomes, start=len(nights) + 1):
                night_id = job.source.night_id
                if isinstance(outcome, _Prepared):
                    nights[night_id], files[night_id] = outcome.entry, outcome.seen
                    kept += outcome.kept
                    with _writing(out):
                        journal.add(config.sha256(), outcome.entry, outcome.seen)
                else:
                    rejected.append(Rejection(night_id, job.source.recording.name, _reason(outcome)))
                if progress is not None:
                    progress(done, len(sources), night_id)
        with _writing(out):
            _finish(out, config, nights, rejected, files)
            write_population(out)
        complete = True
    finally:
        journal.close(remove=complete)
    by_id = tuple(nights[night_id] for night_id in sorted(nights))
    return Summary(by_id, kept, tuple(sorted(rejected, key=lambda r: r.night_id)))


@dataclass(frozen=True)
class _Job:
    """One night to prepare; what a worker needs to know."""

    source: Source
    split: str
    out: Path
    config: PrepareConfig
    known: NightEntry | None
    load: Callable[..., Night | RecordedNight]


@dataclass(frozen=True)
class _Prepared:
    """A night that is in its shard; `kept` says that it was there and did not have to be made again."""

    entry: NightEntry
    seen: Seen
    kept: bool = False


def _run(job: _Job) -> _Prepared | str:
    """Prepares one night, or says why it was refused.

    Raises:
      OutputError: the shard cannot be written.
      FileNotFoundError: a source is not there.
    """
    # One thread of linear algebra each: workers do not fight for cores, and sums have one order everywhere.
    with threadpool_limits(1):
        try:
            return _prepare_night(job)
        except (OutputError, FileNotFoundError):
            raise
        except (RecordingError, OSError) as error:
            return _without_folders(job.source, str(error))


def _without_folders(source: Source, text: str) -> str:
    """Folders say nothing of a recording, and may be named after people."""
    for folder in {path.parent for path in (source.recording, *source.scoring)}:
        text = text.replace(f"{folder}/", "")
    return text


def _reason(outcome: str | Exception) -> str:
    """Why a night was refused; raises instead what is no recording's fault."""
    if isinstance(outcome, OutputError):
        raise outcome
    if isinstance(outcome, FileNotFoundError) and outcome.filename is not None:
        if Path(outcome.filename).exists():
            raise RuntimeError(
                f"a worker does not see a file that is here, {outcome.filename}: mount it there"
            )
        return f"{Path(outcome.filename).name}: no such file any more"
    if isinstance(outcome, ProcessDied):
        return str(outcome)
    if isinstance(outcome, Exception):
        return f"unexpected {type(outcome).__name__}: {outcome} (an error of ours: please report it)"
    return outcome


def _prepare_night(job: _Job) -> _Prepared:
    source, shard = job.source, _shard(job.out, job.source.night_id)
    seen = tuple(FileSeen.read(path) for path in _files(source))
    source_sha256 = _source_sha256(job, seen)
    if job.known is not None and _matches(job, source_sha256):
        return _Prepared(job.known, seen, kept=True)
    night = job.load(
        source.recording,
        source.scoring,
        night_id=source.night_id,
        subject_id=source.subject_id,
        site=source.site,
        demographics=source.demographics,
        scored=source.scored,
        dialect=source.dialect,
        terms=source.terms,
        unusable=source.unusable,
    )
    if night.n_epochs == 0:
        raise RecordingError(
            f"{source.recording.name}: {night.duration_s} s long; expected at least {EPOCH_S} s"
        )
    with _reading(source):
        ranges = storage_ranges(night)
    with _writing(shard):
        records_sha256, channels = _write(job, night, ranges)
        shard_bytes = shard.stat().st_size
    if not any(channel.normalisable() for channel in channels):
        raise RecordingError(
            f"{source.recording.name}: no channel has a good second in {len(channels)} channels"
        )
    if not _look_the_same(source, seen):
        raise RecordingError(
            f"{source.recording.name}: changed while it was read; run again when it is complete"
        )
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
    return _Prepared(entry, seen)


def _write(
    job: _Job, night: Night | RecordedNight, ranges: dict[str, tuple[float, float]]
) -> tuple[str, tuple[ChannelEntry, ...]]:
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
        _shard(job.out, job.source.night_id),
        (encode_epoch(e) for e in night_epochs(night, ranges, pieces())),
    )
    return records_sha256, tuple(
        channel_entry(c, meters[c.slot].scale(), meters[c.slot].quality) for c in last
    )


def _is_kept(job: _Job, seen: Seen) -> bool:
    """Whether a finished night is still good, by the size and times of its sources."""
    try:
        unchanged = _look_the_same(job.source, seen)
    except (RecordingError, OSError):
        return False  # preparing it will say what is wrong
    return unchanged and _matches(job, _source_sha256(job, seen))


def _matches(job: _Job, source_sha256: str) -> bool:
    size = _shard(job.out, job.source.night_id).stat().st_size
    return job.known.source_sha256 == source_sha256 and job.known.shard_bytes == size


def _look_the_same(source: Source, seen: Seen) -> bool:
    files = _files(source)
    return len(files) == len(seen) and all(map(FileSeen.is_still, seen, files))


def _finish(
    out: Path,
    config: PrepareConfig,
    nights: dict[str, NightEntry],
    rejected: Sequence[Rejection],
    files: dict[str, Seen],
) -> None:
    """Writes what describes the whole folder, the manifest last but for the shards that it does not list."""
    there = {path.name for path in out.iterdir()}
    if lost := {night.shard for night in nights.values()} - there:
        raise OutputError(f"{len(lost)} shards are gone, such as {min(lost)}: somebody emptied the folder")
    rejections = sorted(rejected, key=lambda rejection: rejection.night_id)
    write_lines(out / REJECTED, [asdict(rejection) for rejection in rejections])
    write_seen(out, files)
    write_manifest(out / MANIFEST, Manifest(asdict(config), config.sha256(), tuple(nights.values())))
    for rejection in rejected:
        _shard(out, rejection.night_id).unlink(missing_ok=True)


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """A recording that cannot be read any further is refused; whatever its reader raises is not the output's fault."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise RecordingError(f"{source.recording.name}: cannot be read any further: {error}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
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


def _files(source: Source) -> tuple[Path, ...]:
    return (*files_of(source.recording), *source.scoring)


def _source_sha256(job: _Job, seen: Seen) -> str:
    """Digest of everything a night is made from: the bytes of its files, and what the cohort says of it."""
    source = job.source
    facts = [
        source.night_id,
        source.subject_id,
        source.site,
        source.cohort,
        sorted(source.scored) if source.scored is not None else None,
        source.dialect,
        sorted((word, *astuple(meaning)) for word, meaning in source.terms.items()),
        sorted(source.unusable),
        job.split,
        asdict(source.demographics),
    ]
    return digest([[file.sha256 for file in seen], facts])


def _shard(out: Path, night_id: str) -> Path:
    return out / f"{night_id}{SHARD_SUFFIX}"
