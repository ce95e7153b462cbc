"""A score as tables, JSON and EDF+ annotations."""

from __future__ import annotations

import csv
import datetime
import errno
import io
import json
import os
import re
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import edfio
import numpy as np

from data_pipeline.annotations.table import MODEL
from data_pipeline.flatten import flatten
from data_pipeline.night import EPOCH_S, STAGES, Event, Night, marks
from data_pipeline.tasks import BREATHING, RERA
from data_pipeline.whole_files import HALF
from sleepmami_jax.scoring.prediction import Scores
from sleepmami_jax.tasks.stages import stage_of

NAMES = ("report.html", "stages.csv", "events.csv", "rejected.csv", "summary.json", "annotations.edf")
FORMAT = "sleepmami-score-1"
RESEARCH_USE = (
    "For research only. This is not a medical device; it must not be used to diagnose, treat or monitor anyone."
)
EDF_YEARS = 1985, 2084
"""That a header of EDF can say."""


_LINKED = ("breathing", "arousal", "desaturation", "limb_movement")
"""What an event may go with."""


def stages_csv(scores: Scores) -> str:
    """One row an epoch: epoch, onset_s, stage ("" where unscored), the probability of each stage, risk, and model.

    `risk` is the chance that the stage is wrong, "" from a model that cannot say.
    """
    rows = [["epoch", "onset_s", "stage", *(f"prob_{name}" for name in STAGES), "risk", MODEL]]
    risks = [""] * len(scores.stages)
    if scores.reliability is not None:
        risks = [f"{risk:.4f}" for risk in scores.reliability.epoch_risk]
    for epoch, (code, probs, risk) in enumerate(zip(scores.stages, scores.stage_probs, risks, strict=True)):
        stage = STAGES[code] if code >= 0 else ""
        told = [*_to_one(probs), risk if stage else "", _model(scores)]
        rows.append([epoch, epoch * EPOCH_S, stage, *told])
    return _csv(rows)


def _to_one(probs: np.ndarray) -> list[str]:
    """Probabilities with four decimals and the sum of those given: what rounding takes goes to the largest rests."""
    parts = np.floor(probs.astype(float) * 1e4)
    short = round(float(probs.sum(dtype=float)) * 1e4 - parts.sum())
    parts[np.argsort(parts - probs * 1e4, kind="stable")[: max(short, 0)]] += 1
    return [f"{part / 1e4:.4f}" for part in parts]


def events_csv(scores: Scores) -> str:
    """One row an event; columns between `reliable` and `type_probability` are onsets of events that go with it.

    `probability` is the mean over the event's seconds, "" for a desaturation, which is measured; `reliable` whether the
    events of its task are more likely right than wrong on this night, "" where nobody can say; `type_probability` that
    of an apnea's type where the model tells it. `counts_as` names the indices that count the event, between semicolons;
    `why_not` says what it lacks for one that does not, or why none does. The last is the model.
    """
    columns = ["onset_s", "duration_s", "kind", "stage", "probability", "reliable"]
    rows = [[*columns, *(f"{family}_onset_s" for family in _LINKED), "type_probability", "counts_as", "why_not", MODEL]]
    known = {} if scores.reliability is None else scores.reliability.reliable
    of_kind = {kind: known[task.name] for task in scores.tasks if task.name in known for kind in task.kinds}
    for n, (event, links) in enumerate(zip(scores.events, scores.links, strict=True)):
        linked = dict.fromkeys(_LINKED, "")
        for other in (scores.events[i] for i in links):
            family = "breathing" if other.kind in BREATHING.kinds | RERA.kinds else str(other.kind)
            linked[family] = f"{other.onset_s:g}"
        probability, of_type = (
            "" if p is None else f"{p:.4f}" for p in (scores.confidences[n], scores.type_probabilities[n])
        )
        reliable = {True: "true", False: "false", None: ""}[of_kind.get(event.kind)]
        what = [*_where(event, scores), probability, reliable, *linked.values()]
        rows.append([*what, of_type, ";".join(scores.counts_as[n]), scores.why_not[n], _model(scores)])
    return _csv(rows)


def rejected_csv(scores: Scores) -> str:
    """One row a candidate that is no event: what the model marked, or the oximeter showed, and why it does not count.

    No row of `events.csv` is here, and none of these is there.
    """
    rows = [["onset_s", "duration_s", "kind", "stage", "why"]]
    return _csv(rows + [[*_where(event, scores), why] for event, why in scores.rejected])


def _where(event: Event, scores: Scores) -> list[str]:
    return [f"{event.onset_s:g}", f"{event.duration_s:g}", str(event.kind), stage_of(event, scores.stages)]


def _model(scores: Scores) -> str:
    """Name and digest of the model, in one word."""
    return "@".join(
        re.sub(r"[^\w.+-]", "_", str(scores.model_card.get(fact, "unknown"))) for fact in ("name", "version")
    )


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def summary(scores: Scores, night: Night) -> dict[str, Any]:
    """The score as one flat dict of words, finite numbers, nulls and lists of words; `reliable` and `risk` are by task.

    Statistics keep their names; agreement with a human scoring starts with `agreement_`, the model's facts with
    `model_`. A statistic of a task that the sensors do not allow is not there; `not_available` names the task.
    """
    flat: dict[str, Any] = {
        "format": FORMAT,
        "research_use": RESEARCH_USE,
        "night_id": night.night_id,
        "epochs": len(scores.stages),
        "missing_modalities": list(scores.missing),
        "not_available": [f"{task}: {reason}" for task, reason in scores.unavailable.items()],
        **_reliability(scores),
        "warnings": list(scores.warnings),
        "notes": list(night.notes),
    }
    if scores.norm:
        flat["percentiles_among"] = among(scores.norm)
        flat |= {f"percentile_{key}": words for key, words in scores.percentiles.items()}
    facts = scores.statistics | flatten({"agreement": scores.agreement, "model": scores.model_card}, "_")
    return flat | {key: _plain(value) for key, value in facts.items() if value != {}}


def among(norm: str) -> str:
    """Whom percentiles are of, as a reader must know it; `norm` as of `Scores`."""
    return f"{norm} whom the model learned from, as scorers scored them: no reference values of healthy people"


def _reliability(scores: Scores) -> dict[str, Any]:
    """`reliable` and `risk` by task, and `reasons`; all empty from a model that cannot say."""
    known = scores.reliability
    if known is None:
        return {"reliable": {}, "risk": {}, "reasons": []}
    risk = {name: round(value, 4) for name, value in known.risk.items() if name not in scores.unavailable}
    return {
        "reliable": {name: known.reliable[name] for name in risk},
        "risk": risk,
        "reasons": list(known.reasons),
    }


def summary_json(scores: Scores, night: Night) -> str:
    """`summary` as JSON text."""
    return json.dumps(summary(scores, night), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are not finite become null."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"cannot write {type(value).__name__} {value!r} into summary.json: expected words or numbers")


def annotations_edf(scores: Scores) -> edfio.Edf:
    """An EDF+ file of annotations only: each epoch's stage, and the events, to be laid over the recording.

    It begins on the recording's own day and clock, and holds nobody's name. Where the recording has no day it is 1985,
    as EDF+ has it ("Startdate X", 01.01.85), and the header says `day_unknown`; so it does of a clock.
    """
    day, clock = scores.start_day, scores.start_clock
    if day is not None and not EDF_YEARS[0] <= day.year <= EDF_YEARS[1]:
        day = None
    unknown = [f"{what}_unknown" for what, told in (("day", day), ("clock", clock)) if told is None]
    return edfio.Edf(
        signals=[],
        annotations=[edfio.EdfAnnotation(*mark) for mark in marks(scores.stages, scores.events)],
        recording=edfio.Recording(startdate=day, equipment_code="sleepmami", additional=unknown),
        starttime=datetime.time.fromisoformat(clock) if clock else datetime.time(),
    )


def refuse_foreign(out: Path) -> None:
    """Whether a score may be written into a folder: asked before the work, and again after it.

    Raises:
      ValueError: it is a file, or holds other things than an earlier score.
      OSError: it cannot be written into.
    """
    there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if there.is_dir() and not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, "may not be written into; choose another folder", str(there))
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder to write the score into, or a new name")
    names = {path.name for path in out.iterdir() if not path.name.endswith(HALF)}
    if not names:
        return
    try:
        ours = json.loads((out / "summary.json").read_text(encoding="utf-8"))["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours or names - set(NAMES):
        foreign = ", ".join(sorted(names - set(NAMES))[:3]) or "files by our names that we did not write"
        raise ValueError(f"{out} holds {foreign}; choose an empty or new folder, nothing was overwritten")
