"""Recordings in, shards out: one file a night, a manifest, and a list of what was refused and why.

A run that was stopped goes on where it was (see `journal`): a night whose sources and settings have not changed
is kept. A source is taken as unchanged when its size and times are; `rehash` reads it to be sure.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_pipeline.cohorts import Found, Source, look
from data_pipeline.load import open_night
from data_pipeline.montage.file import MontageRules
from data_pipeline.night import Night
from data_pipeline.population.file import write_population
from data_pipeline.prepare.cluster import run_on_ray
from data_pipeline.prepare.journal import Journal, Seen, forget_other_settings, read_known, write_seen
from data_pipeline.prepare.night import Job, OutputError, Prepared, is_kept, rejection_of, run_job, shard_path, writing
from data_pipeline.prepare.splits import assign_splits, check_splits, same_content
from data_pipeline.prepare.summary import Refusal, Rejection, Summary
from data_pipeline.prepare.workers import Progress, run_local
from data_pipeline.shards.manifest import (
    MANIFEST,
    SHARD_SUFFIX,
    VERSION,
    Manifest,
    NightEntry,
    digest,
    is_safe_name,
    write_lines,
    write_manifest,
)
from data_pipeline.shards.records import RECORD_VERSION
from data_pipeline.whole_files import HALF

REJECTED = "rejected.jsonl"
PREPARATION = 2
"""To be raised when the same recording gives other channels, samples, flags or labels than before: it is then prepared
again, and a folder never holds nights of two kinds."""


@dataclass(frozen=True)
class PrepareConfig:
    """Settings of preparation.

    Attributes:
      val_share, test_share: share of subjects held out for validation and testing, 0..1; the rest trains.
      montage_sha256: digest of the montage file's content, "" without one.
      kinds: kinds of event of somebody's own that are kept (see `read_scoring`).
    """

    val_share: float = 0.1
    test_share: float = 0.1
    montage_sha256: str = ""
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share > 1:
            raise ValueError(f"val_share {self.val_share} and test_share {self.test_share}: expected shares, sum <= 1")

    def to_dict(self) -> dict[str, Any]:
        """The settings as the manifest keeps them; kinds only where there are some, so that older folders stay."""
        return {name: value for name, value in asdict(self).items() if name != "kinds" or value}

    def sha256(self) -> str:
        """Digest of the settings, of the formats' versions and of what is done to the samples."""
        versions = {"manifest": VERSION, "record": RECORD_VERSION, "preparation": PREPARATION}
        return digest(versions | {"config": self.to_dict()})


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
    strict: bool = False,
    progress: Progress | None = None,
    load: Callable[..., Night] = open_night,
) -> Summary:
    """Prepares recordings into `out`: `<night_id>.array_record`, `manifest.jsonl`, `rejected.jsonl`, `population.json`.

    The same inputs and settings give the same bytes of these, whatever the workers and interruptions. A
    recording that was refused is tried again by the next run.

    >>> summary = prepare([Path("recordings")], Path("shards"))  # goes on where it was
    >>> len(summary.nights), summary.kept, summary.rejected
    (1, 1, ())

    Args:
      inputs: files and folders, searched as the cohort does.
      out: the folder to fill; made when it is not there. It belongs to these inputs alone.
      cohort: a module of `data_pipeline.cohorts`, or the path of an adapter of one's own.
      workers: processes on this machine; one works in this process.
      ray: address of a Ray cluster that works instead, see `cluster.run_on_ray`.
      rehash: reads sources of finished nights again, also where size and times say that they are the same.
      config: settings; a change of them prepares everything again.
      montage: what fills which slot, as in `load_night`; part of the settings.
      strict: a scoring that cannot be read refuses its night, which otherwise stays for pretraining.
      progress: called with (nights done, nights in all, night_id) after each.
      load: opens one night; must be importable by name when there are several workers.

    Raises:
      ValueError: nothing to prepare, a night id that is none, `out` holds nights that are not among the inputs, or
        another run is filling it.
      OutputError: `out` cannot be written. What was finished is kept, and the next run goes on.
      RuntimeError: a node of the cluster does not see the files or cannot import the code.
    """
    config = config or PrepareConfig()
    if montage is not None:
        config = replace(config, montage_sha256=montage.sha256())
        load = partial(load, montage=montage)
    if config.kinds:
        load = partial(load, kinds=config.kinds)
    out = Path(out)
    found = look(inputs, cohort)
    sources, same_ids = _one_of_each_id(found.sources)
    splits = assign_splits(sources, val_share=config.val_share, test_share=config.test_share)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        journal = Journal(out)
    run = _Run(out, config, sources, progress)
    run.refuse(same_ids)
    complete = False
    try:
        jobs = run.begin(splits, partial(Job, out=out, load=load, strict=strict), rehash)
        work = partial(run_local, workers=workers) if ray is None else partial(run_on_ray, address=ray)
        with closing(work(run_job, jobs)) as outcomes:
            for job, outcome in outcomes:
                if isinstance(outcome, Prepared):
                    with writing(out):
                        journal.add(config.sha256(), outcome.entry, outcome.seen)
                run.take(job.source, outcome)
        # The nights of a data set are named by it; in any folder a recording may lie twice.
        run.finish(once=cohort == "generic")
        complete = True
    finally:
        journal.close(remove=complete)
    return run.summary(found)


class _Run:
    """One run: what it was asked for, and what has become of the nights so far."""

    def __init__(self, out: Path, config: PrepareConfig, sources: Sequence[Source], progress: Progress | None):
        self._out, self._config, self._sources, self._progress = out, config, sources, progress
        self._nights: dict[str, NightEntry] = {}
        self._seen: dict[str, Seen] = {}
        self._rejected: list[Rejection] = []
        self._kept = 0

    def refuse(self, rejected: Sequence[Rejection]) -> None:
        self._rejected += rejected

    def begin(self, splits: Mapping[str, str], job_of: Callable[..., Job], rehash: bool) -> list[Job]:
        """Clears away what is half done or of other settings; the nights that are to be prepared."""
        with writing(self._out):
            for half in self._out.glob(f"*{HALF}"):
                half.unlink()
        known, seen = read_known(self._out, self._config.sha256())
        shards = {path.name.removesuffix(SHARD_SUFFIX) for path in self._out.glob(f"*{SHARD_SUFFIX}")}
        if foreign := shards - {source.night_id for source in self._sources}:
            problem = f"{self._out} holds {len(foreign)} nights that are not among the inputs, such as {min(foreign)}"
            raise ValueError(f"{problem}; give all inputs of a data set together, or prepare into a new folder")
        jobs = []
        for source in self._sources:
            before = known.pop(source.night_id, None) if source.night_id in shards else None
            files = seen.get(source.night_id, ())
            job = job_of(source, splits[source.night_id], known=before)
            if before is not None and not rehash and is_kept(job, files):
                self.take(source, Prepared(before, files, kept=True))
            else:
                jobs.append(job)
        with writing(self._out):
            forget_other_settings(self._out, self._config.sha256())
        return jobs

    def take(self, source: Source, outcome: Prepared | Rejection | Exception) -> None:
        """One more night. Raises what is no recording's fault."""
        if isinstance(outcome, Prepared):
            self._nights[source.night_id], self._seen[source.night_id] = outcome.entry, outcome.seen
            self._kept += outcome.kept
        else:
            is_told = isinstance(outcome, Rejection)
            self._rejected.append(outcome if is_told else rejection_of(source, outcome))
        if self._progress is not None:
            done = len(self._nights) + len(self._rejected)
            self._progress(done, len(self._sources), source.night_id)

    def finish(self, *, once: bool) -> None:
        """Writes what describes the whole folder, the manifest last but for the shards that it does not list."""
        names = {source.night_id: source.recording.name for source in self._sources}
        for night_id, other in (same_content(self._nights, self._seen) if once else {}).items():
            problem = f"the same recording as night {other}, under another name"
            self._rejected.append(Rejection(night_id, names[night_id], Refusal.TWICE, names[night_id], problem))
            del self._nights[night_id], self._seen[night_id]
        check_splits(self._nights.values())
        out, nights = self._out, tuple(self._nights.values())
        self._rejected.sort(key=lambda rejection: rejection.night_id)
        with writing(out):
            if lost := {night.shard for night in nights} - {path.name for path in out.iterdir()}:
                raise OutputError(f"{len(lost)} shards are gone, such as {min(lost)}: somebody emptied the folder")
            write_lines(out / REJECTED, (rejection.to_json() for rejection in self._rejected))
            write_seen(out, self._seen)
            write_manifest(out / MANIFEST, Manifest(self._config.to_dict(), self._config.sha256(), nights))
            for rejection in self._rejected:
                if rejection.night_id not in self._nights:  # of two with one id the first may be there
                    shard_path(out, rejection.night_id).unlink(missing_ok=True)
            write_population(out)

    def summary(self, found: Found) -> Summary:
        nights = tuple(self._nights[night_id] for night_id in sorted(self._nights))
        left = tuple(path.name for path in found.left if self._out not in path.parents)
        return Summary(nights, self._kept, tuple(self._rejected), left, found.remarks)


def _one_of_each_id(sources: Sequence[Source]) -> tuple[list[Source], list[Rejection]]:
    """The first night of each id; why the others are refused."""
    seen: dict[str, Source] = {}
    refused = []
    for source in sources:
        if not is_safe_name(source.night_id):
            problem = f"{source.recording}: night id {source.night_id!r}; expected letters, digits, `.`, `_`, `-`"
            raise ValueError(problem)
        # Without regard to case: some file systems would give both the same shard.
        other = seen.setdefault(source.night_id.casefold(), source)
        if other is not source:
            name = source.recording.name
            problem = f"another recording, {other.recording.name}, is night {other.night_id} already; rename one"
            refused.append(Rejection(source.night_id, name, Refusal.TWICE, name, problem))
    return list(seen.values()), refused
