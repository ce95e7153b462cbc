"""Many recordings in, a folder of scores out: a folder a night, one table and one page of all.

A run that was stopped goes on where it was: a night that is there whole, scored by the same model with the same
settings from the same recording, is kept. What is known of each is a line of `nights.jsonl`, written when it is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from data_pipeline.cohorts import Source
from data_pipeline.from_json import from_json
from data_pipeline.lock import alone_in
from data_pipeline.montage.file import MontageRules
from data_pipeline.prepare.journal import Seen
from data_pipeline.prepare.night import rejection_of, writing
from data_pipeline.prepare.summary import Rejection
from data_pipeline.prepare.workers import Progress, run_local
from data_pipeline.shards.manifest import digest, json_line, write_lines
from data_pipeline.whole_files import write_whole
from sleepmami_jax.many import index, table
from sleepmami_jax.many.found import find
from sleepmami_jax.many.night import Done, Job, model_of, score_job, stage_codes
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.scoring.files import refuse_foreign

JOURNAL = "nights.jsonl"


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
      scored: ids of the nights that are there now; kept: how many of them were before.
      refused: those that could not be scored, and why.
      written: names of what tells of all nights.
    """

    scored: tuple[str, ...]
    kept: int
    refused: tuple[Rejection, ...]
    written: tuple[str, ...]


def score_many(
    inputs: Sequence[Path],
    out: Path,
    *,
    model: str = "bundled",
    cohort: str = "generic",
    workers: int = 1,
    montage: MontageRules | None = None,
    rules: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Scores recordings into `out`: `<night_id>/` as `Pretrained.score` writes it, `nights.csv` and `index.html`.

    The same recordings give the same bytes, whatever the workers and interruptions. A recording that cannot be scored
    costs itself only.

    Args:
      inputs: recordings, folders of them, lists of either (`.txt`, a path a line); see `found.find`.
      out: the folder to fill; it belongs to these inputs.
      model: as of `load`; cohort: as of `cohorts.find_nights`.
      montage, rules: for every recording, as of `Pretrained.score`.
      workers: processes, of some 1 GB each; one works in this process.
      progress: called with (nights done, nights to do, night_id) after each.

    Raises:
      ValueError: nothing to score, `out` holds other files or other nights, or another run works in it.
      OutputError: `out` cannot be written. What was finished is kept, and the next run goes on.
      ModelFolderError: no such model, or one that was never fine-tuned.
    """
    sources, scorer = find(inputs, cohort), model_of(model)
    settings = _settings(scorer, montage, rules)
    with alone_in(out):
        known = _known(out, sources)
        jobs = [Job(source, out, model, settings, montage, rules, known.get(source.night_id)) for source in sources]
        done = {job.source.night_id: job.known for job in jobs if job.is_done()}
        refused: dict[str, Rejection] = {}
        kept, todo = len(done), [job for job in jobs if job.source.night_id not in done]
        for job in todo:
            refuse_foreign(job.folder)
        with (out / JOURNAL).open("ab") as journal, closing(run_local(score_job, todo, workers)) as outcomes:
            journal.write(b"\n" if journal.tell() else b"")  # the last line may be cut
            for n, (job, outcome) in enumerate(outcomes, 1):
                night_id = job.source.night_id
                if isinstance(outcome, Done):
                    done[night_id] = outcome
                    with writing(out / JOURNAL):
                        journal.write(json_line(vars(outcome)).encode())
                        journal.flush()
                else:
                    told = isinstance(outcome, Rejection)
                    refused[night_id] = outcome if told else rejection_of(job.source, outcome)
                if progress is not None:
                    progress(n, len(todo), night_id)
        with writing(out):
            write_lines(out / JOURNAL, (vars(done[night_id]) for night_id in sorted(done)))
            written = _tell(sources, done, refused, model, out)
    return Summary(tuple(sorted(done)), kept, tuple(refused.values()), tuple(written))


def _settings(model: Pretrained, montage: MontageRules | None, rules: str | None) -> str:
    """Digest of all that decides what is said of a night but its files. Raises ModelFolderError: it cannot score."""
    folder = model.folder
    return digest(
        {
            "weights": folder.digest(),
            "tasks": [task.name for task in folder.tasks],
            "thresholds": model.thresholds,
            "reference": None if folder.reference is None else asdict(folder.reference),
            "card": model.card,
            "montage": montage.sha256() if montage else "",
            "rules": rules,
            "version": version("sleepmami"),
        }
    )


def _known(out: Path, sources: Sequence[Source]) -> dict[str, Done]:
    """What earlier runs left, by night; what is damaged in it is passed over, and its nights are done again."""
    known: dict[str, Done] = {}
    if not (out / JOURNAL).is_file():
        if foreign := [name for name in (table.CSV, table.PARQUET, index.PAGE) if (out / name).exists()]:
            raise ValueError(f"{out} holds {foreign[0]}, which no run of ours left; choose an empty or new folder")
        return known
    with (out / JOURNAL).open("rb") as file:
        for line in file:
            try:
                told = json.loads(line)
                night = Done(**{**told, "seen": from_json(Seen, told["seen"])})
                known[night.night_id] = night
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    asked = {source.night_id for source in sources}
    if foreign := sorted(night_id for night_id in known.keys() - asked if (out / night_id).exists()):
        problem = f"{out} holds {len(foreign)} nights that are not among the inputs, such as {foreign[0]}"
        raise ValueError(f"{problem}; give all inputs together, remove their folders, or choose a new folder")
    return known


def _tell(
    sources: Sequence[Source], done: Mapping[str, Done], refused: Mapping[str, Rejection], model: str, out: Path
) -> list[str]:
    """Writes table and page; the names of them."""
    rows = []
    for source in sorted(sources, key=lambda source: source.night_id):
        night, file = done.get(source.night_id), source.recording.name.encode("utf-8", "replace").decode()
        error = None if night else refused[source.night_id].reason
        facts = {"night_id": source.night_id, "file": file, "status": "scored" if night else "refused", "error": error}
        rows.append(table.row_of(facts, night.summary if night else {}))
    stages = {night_id: stage_codes(night.stages) for night_id, night in done.items()}
    scorer = model_of(model)
    page = index.render(rows, stages, scorer.folder.tasks, f"{scorer.card['name']} {scorer.card['version']}")
    write_whole(out / index.PAGE, page)
    return [index.PAGE, *table.write_table(rows, out)]
