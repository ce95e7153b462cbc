"""One night of many: scored in a folder of its own, unless it is there whole, of this recording, model and settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from data_pipeline.cohorts import Source
from data_pipeline.load import open_night
from data_pipeline.montage.file import MontageRules
from data_pipeline.night import EPOCH_S, RecordingError
from data_pipeline.prepare.journal import Seen
from data_pipeline.prepare.night import loaded, look_the_same, refused_by, seen_now, source_sha256, writing
from data_pipeline.prepare.summary import Rejection
from data_pipeline.shards.manifest import digest
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.scoring.files import NAMES
from sleepmami_jax.scoring.score import write_scores


@dataclass(frozen=True)
class Done:
    """A night that is in its folder.

    Attributes:
      night_id: also the folder's name.
      made_of: digest of its sources, the model and the settings; files_sha256: of the files that were made.
      seen: how its sources looked.
      stages: a letter an epoch: W 1 2 3 R, ? where not scored.
      summary: what is in its `summary.json`.
    """

    night_id: str
    made_of: str
    files_sha256: str
    seen: Seen
    stages: str
    summary: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A night to score; what a worker needs to know.

    Attributes:
      out: the folder of all nights; model: as of `load`; settings: digest of the model and of what else decides.
    """

    source: Source
    out: Path
    model: str
    settings: str
    montage: MontageRules | None
    rules: str | None
    known: Done | None

    @property
    def folder(self) -> Path:
        return self.out / self.source.night_id

    def is_done(self) -> bool:
        """Whether it was scored before and is whole, by the size and times of its sources."""
        known = self.known
        try:
            unchanged = known is not None and look_the_same(self.source, known.seen)
        except (RecordingError, OSError):
            return False  # scoring it will say what is wrong
        return unchanged and self.is_known(self.made_of(known.seen))

    def is_known(self, made_of: str) -> bool:
        """Whether what is known of it was made of that, and is whole."""
        known = self.known
        same = known is not None and known.made_of == made_of
        return same and known.files_sha256 == files_sha256(self.folder) != ""

    def made_of(self, seen: Seen) -> str:
        return digest([self.settings, source_sha256(self.source, seen)])


def score_job(job: Job) -> Done | Rejection:
    """Scores a night, or says why it is refused. Raises OutputError where it cannot be written."""
    return refused_by(job.source, partial(_score, job))


def _score(job: Job) -> Done:
    seen = seen_now(job.source)
    made_of = job.made_of(seen)
    if job.is_known(made_of):
        return replace(job.known, seen=seen)
    night = loaded(job.source, partial(open_night, montage=job.montage))
    if night.n_epochs == 0:
        raise RecordingError(job.source.recording, f"{night.duration_s} s long; expected at least {EPOCH_S} s")
    supine = job.montage.supine if job.montage else ()
    scores, night, signals = model_of(job.model).scored(night, rules=job.rules, supine=supine)
    with writing(job.folder):
        write_scores(scores, night, job.folder, signals)
        summary = json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))
    stages = "".join("W123R?"[code] for code in scores.stages)  # the last for -1
    return Done(job.source.night_id, made_of, files_sha256(job.folder), seen, stages, summary)


@lru_cache(1)
def model_of(place: str) -> Pretrained:
    """The model of this process: of many nights it is loaded once."""
    return load(place)


def stage_codes(stages: str) -> list[int]:
    """`Done.stages` as codes of `STAGES`, -1 where not scored."""
    return ["W123R".find(letter) for letter in stages]


def files_sha256(folder: Path) -> str:
    """Digest of the files of a scored night, "" where one is missing."""
    sha256 = hashlib.sha256()
    for name in NAMES:
        try:
            sha256.update(hashlib.sha256((folder / name).read_bytes()).digest())
        except OSError:
            return ""
    return sha256.hexdigest()
