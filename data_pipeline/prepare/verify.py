"""Whether a prepared folder is what its manifest says, record by record."""

import hashlib
from functools import partial
from pathlib import Path

from data_pipeline.prepare.journal import JOURNAL
from data_pipeline.prepare.workers import Progress, run_local
from data_pipeline.shards.files import add_record, open_shard
from data_pipeline.shards.manifest import SHARD_SUFFIX, NightEntry, read_manifest
from data_pipeline.shards.records import decode_epoch
from data_pipeline.whole_files import HALF


def verify(folder: Path, *, workers: int = 1, progress: Progress | None = None) -> list[str]:
    """Reads every record of a prepared folder; what is wrong, a sentence each, [] when nothing is.

    >>> verify(Path("shards"))
    []

    Args:
      folder: what `prepare` filled.
      workers: processes; one works in this process.
      progress: called with (nights done, nights in all, night_id) after each.
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return [str(error)]
    problems: dict[str, list[str]] = {}
    checked = run_local(partial(_shard_problems, folder), manifest.nights, workers)
    for done, (night, outcome) in enumerate(checked, start=1):
        if isinstance(outcome, Exception):
            outcome = [f"shard {folder / night.shard} was not checked: {outcome!r}"]
        problems[night.night_id] = outcome
        if progress is not None:
            progress(done, len(manifest.nights), night.night_id)
    sentences = [problem for night in manifest.nights for problem in problems[night.night_id]]
    expected = {night.shard for night in manifest.nights}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(SHARD_SUFFIX) and path.name not in expected:
            sentences.append(f"shard {path} is not in the manifest; delete it or run `sleepmami prepare` again")
        if path.name.endswith(HALF) or path.name == JOURNAL:
            sentences.append(f"{path} was left by a run that did not finish; run `sleepmami prepare` again")
    return sentences


def _shard_problems(folder: Path, night: NightEntry) -> list[str]:
    path = folder / night.shard
    try:
        reader = open_shard(path, night.n_epochs)
    except ValueError as error:
        return [str(error)]
    checksum = hashlib.sha256()
    problems = []
    try:
        for index in range(night.n_epochs):
            (record,) = reader.read([index])
            add_record(checksum, record)
            epoch = decode_epoch(record)
            if (epoch.night_id, epoch.index, epoch.n_epochs) != (night.night_id, index, night.n_epochs):
                problems.append(f"shard {path}: epoch {index} is epoch {epoch.index} of night {epoch.night_id}")
            if epoch.stage != night.stage_codes[index]:
                problems.append(f"shard {path}: epoch {index} has stage {epoch.stage}, not {night.stages[index]}")
    except ValueError as error:
        problems.append(f"shard {path}: {error}")
    except (RuntimeError, IndexError) as error:
        problems.append(f"shard {path} is damaged: {error}; delete it, and `sleepmami prepare` makes it again")
    else:
        if checksum.hexdigest() != night.records_sha256:
            problems.append(f"shard {path}: the SHA-256 of its records is not the manifest's")
    return problems
