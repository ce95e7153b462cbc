"""What a finished model is worth on people: stages and spindles of one EEG, without any training.

    SLEEPMAMI_REAL_DATA=FOLDER python -m experiments.people --model MODEL --out RESULTS --look FOLDER

`FOLDER` holds `dreams_spindles/` (DREAMS Sleep Spindles: four excerpts of 30 min), `ucddb018/` (one night of the
St. Vincent's database) and `sleep_edf_crop/` (five minutes awake), as EDF and CSV. The model scores them as it would
any recording. Beside it stand YASA (`pip install yasa`, when it is installed; it was trained on thousands of nights of
people), the commonest stage, and the second expert for spindles. `--look` also scores every recording in a folder and
prints a line of each: nobody knows the truth, it is a look and no score.

Less than two minutes on two CPU cores, most of it YASA. Leaves `people.txt`, the table, and `people.json`, the same
numbers and the confusions. Measured: `results/people.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.load import load_night
from data_pipeline.night import STAGES, UNKNOWN_STAGE, Event, EventKind, RecordingError
from data_pipeline.tasks import BREATHING
from sleepmami_jax.evaluation.baselines import majority_stage
from sleepmami_jax.pretrained import Pretrained, load
from sleepmami_jax.scoring.prediction import Scores

from .real_eeg import UCDDB_UV
from .real_nights import SCORED_S, EegNight, read_dreams, read_ucddb
from .real_probes import has_yasa, stage_agreement, yasa_spindles, yasa_stage_probs
from .spindles import centred, pooled_and_each

SURE = 0.8
"""Confidence, the probability of the stage that is said, from which on an epoch counts as sure."""
SPINDLE_TASK = "spindle"  # a model that has it finds spindles

NOTES = """
Stages: epochs of 30 s; "epochs" are those that people and method both staged, of those that people staged.
  ucddb018 is one night of one person, its one EEG of unknown place and unit: YASA, whose staging uses absolute
  amplitude, is told 100 uV a unit. DREAMS was scored in epochs of 20 s: the 70 of 240 epochs that hold two stages are
  left out, and there is no REM; its 170 epochs are of four people. Excerpt 3 was recorded at 50 Hz.
  Macro-F1 is over the stages that people scored. Confidence is the probability of the stage that is said, "sure" the
  share of epochs where it is 0.8 or more, and beside it how many of these are right.
  The commonest stage is the recordings' own: guessing that knows the answer to one question.
Spindles: F1, one to one, all excerpts pooled; two marks are one spindle when their centres are less than 1 s apart.
  Expert 1 marked nothing after 1000 s, so is the reference up to there only; so is the F1 between the experts.
  31 of expert 1's 44 marks in excerpt 4 lie in epochs scored wake.
YASA was trained on thousands of nights of people; it reads the same channel, prepared (128 Hz), as it comes.
Research use only: not a medical device, not for diagnosis or treatment.
"""


@dataclass(frozen=True)
class Opinion:
    """What one method says of one recording.

    Attributes:
      stages: (E,) codes of `STAGES`, `UNKNOWN_STAGE` where it says nothing.
      confidence: (E,) probability of that stage.
      spindles: None from a method that does not look for any.
    """

    stages: np.ndarray
    confidence: np.ndarray
    spindles: list[Event] | None = None


def model_opinion(scores: Scores) -> Opinion:
    """What a model says, of a scored night."""
    said = SPINDLE_TASK in {task.name for task in scores.tasks} - scores.unavailable.keys()
    spindles = [event for event in scores.events if event.kind == EventKind.SPINDLE] if said else None
    return Opinion(scores.stages, scores.stage_probs.max(1), spindles)


def yasa_opinion(recording: EegNight, uv_per_unit: float) -> Opinion:
    probs = yasa_stage_probs(recording, uv_per_unit)
    spindles = yasa_spindles(recording) if recording.spindles else None
    return Opinion(probs.argmax(1).astype(np.int8), probs.max(1), spindles)


def stage_row(references: Sequence[np.ndarray], opinions: Sequence[Opinion]) -> dict[str, Any]:
    """Agreement on stages, pooled, and what confidence is worth.

    Returns:
      `stage_agreement`'s; n_scored: epochs that people staged; confidence: mean; sure: share of epochs at `SURE` or
      above; sure_accuracy: of these, None when there are none.
    """
    metrics = stage_agreement(references, [o.stages for o in opinions])
    reference, stages = np.concatenate(list(references)), np.concatenate([o.stages for o in opinions])
    both = (reference != UNKNOWN_STAGE) & (stages != UNKNOWN_STAGE)
    confidence = np.concatenate([o.confidence for o in opinions])[both]
    right, sure = (reference == stages)[both], confidence >= SURE
    metrics["n_scored"] = int((reference != UNKNOWN_STAGE).sum())
    metrics["confidence"] = float(confidence.mean())
    metrics["sure"] = float(sure.mean())
    metrics["sure_accuracy"] = float(right[sure].mean()) if sure.any() else None
    return metrics


def measure_stages(recordings: Sequence[EegNight], methods: dict[str, Sequence[Opinion]]) -> dict[str, dict[str, Any]]:
    """{tested: {method: `stage_row`}}: the excerpts together and each, and the whole night.

    Args:
      recordings: the excerpts, then ucddb018.
      methods: what each says of every recording.
    """
    n = len(recordings) - 1
    tested = {"ucddb018": [n], "DREAMS, all four": [*range(n)]} | {
        f"DREAMS, {recordings[i].name}": [i] for i in range(n)
    }
    measured = {}
    for name, places in tested.items():
        references = [recordings[i].stages for i in places]
        commonest = majority_stage(references)
        guess = [Opinion(np.full_like(stages, commonest), np.full(len(stages), np.nan)) for stages in references]
        rows = {method: [opinions[i] for i in places] for method, opinions in methods.items()}
        measured[name] = {m: stage_row(references, o) for m, o in (rows | {"commonest stage": guess}).items()}
        for key in ("confidence", "sure", "sure_accuracy"):
            measured[name]["commonest stage"][key] = None  # a guess has none
    return measured


def measure_spindles(dreams: Sequence[EegNight], methods: dict[str, Sequence[Opinion]]) -> dict[str, dict[str, Any]]:
    """{expert: {method: `pooled_and_each`}}; None of a method that does not look for spindles."""
    measured: dict[str, dict[str, Any]] = {}
    for expert, scored_s in SCORED_S.items():
        marks = [r.spindles[expert] for r in dreams]
        found = {method: [o.spindles for o in opinions[: len(dreams)]] for method, opinions in methods.items()}
        if expert == "expert 1":  # the other way round there are seconds that expert 1 never looked at
            found["the other expert"] = [r.spindles["expert 2"] for r in dreams]
        measured[expert] = {
            method: None if None in events else pooled_and_each(marks, events, scored_s)
            for method, events in found.items()
        }
    return measured


def look(model: Pretrained, folder: Path) -> list[dict[str, Any]]:
    """What the model says of every EDF and BDF file below a folder that it can score, in the order of their names."""
    seen = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".edf", ".bdf")):
        try:
            night = load_night(path)
            if not night.n_epochs:
                continue  # shorter than an epoch
            scores = model.score(night)
        except RecordingError:
            continue  # annotations alone, a damaged header, no channel that the model knows
        known = scores.stages != UNKNOWN_STAGE
        shares = np.bincount(scores.stages[known], minlength=len(STAGES)) / max(1, known.sum())
        seen.append(
            {
                "file": str(path.relative_to(folder)),
                "channels": [channel.slot for channel in night.channels],
                "epochs": len(known),
                "unknown": int((~known).sum()),
                "shares": dict(zip(STAGES, shares.round(3).tolist(), strict=True)),
                "confidence": float(scores.stage_probs.max(1)[known].mean()) if known.any() else None,
                "events": {str(t.plural): sum(e.kind in t.kinds for e in scores.events) for t in scores.tasks},
                "unavailable": sorted(scores.unavailable),
            }
        )
    return seen


def run(model: Pretrained, psg: Path, folder: Path | None = None) -> dict[str, Any]:
    """The experiment: model, stages, spindles, breathing, awake, looked_at."""
    dreams, ucddb = read_dreams(psg), read_ucddb(psg)
    recordings = [*dreams, ucddb]
    scores = [model.score(r.night) for r in recordings]
    methods = {"model": [model_opinion(s) for s in scores]}
    if has_yasa():
        units = [1.0] * len(dreams) + [UCDDB_UV]
        methods["YASA"] = [yasa_opinion(r, unit) for r, unit in zip(recordings, units, strict=True)]
    awake = model.score(psg / "sleep_edf_crop" / "SC4001E0-PSG_first5min.edf")
    return {
        "model": {key: model.card[key] for key in ("name", "version", "trained_on")},
        "stages": measure_stages(recordings, methods),
        "spindles": measure_spindles(dreams, methods),
        "marks": {e: sum(len(centred(r.spindles[e], 0.0, end_s)) for r in dreams) for e, end_s in SCORED_S.items()},
        "breathing": scores[-1].unavailable.get(BREATHING.name, "the model says something of it, from an EEG alone"),
        "awake": {"W": int((awake.stages == 0).sum()), "epochs": len(awake.stages)},
        "looked_at": look(model, folder) if folder else [],
    }


def table(result: dict[str, Any]) -> str:
    """The result for a reader."""
    about = result["model"]
    lines = [f"Model {about['name']} {about['version']}, trained on {about['trained_on']}", ""]
    heads = ("epochs", "kappa", "accuracy", "macro-F1", "confidence", "sure", "of these right")
    lines.append(f"{'Stages':26}" + "".join(f"{head:>16}" for head in heads))
    for tested, methods in result["stages"].items():
        lines.append(tested)
        for method, m in methods.items():
            values = [m[key] for key in ("kappa", "accuracy", "macro_f1", "confidence", "sure", "sure_accuracy")]
            cells = [f"{m['n_epochs']} of {m['n_scored']}", *map(_number, values)]
            lines.append(f"  {method:24}" + "".join(f"{cell:>16}" for cell in cells))
    for tested in ("ucddb018", "DREAMS, all four"):
        lines += ["", f"{f'{tested}, people | model':26}" + "".join(f"{stage:>6}" for stage in STAGES)]
        for stage, counts in zip(STAGES, result["stages"][tested]["model"]["confusion"], strict=True):
            lines.append(f"  {stage:24}" + "".join(f"{count:>6}" for count in counts))
    for expert, methods in result["spindles"].items():
        n = result["marks"][expert]
        excerpts = "".join(f"{f'excerpt {i}':>11}" for i in range(1, 5))
        lines += [
            "",
            f"{f'Spindles, {expert}, {n} marks':30}{'F1':>6}{'precision':>11}{'recall':>8}{excerpts}{'found':>7}",
        ]
        lines += [f"  {method:28}{_spindle_cells(m)}" for method, m in methods.items()]
    lines += ["", f"Breathing events of ucddb018: not said, {result['breathing']}"]
    lines.append(f"Sleep-EDF, five minutes awake: W in {result['awake']['W']} of {result['awake']['epochs']} epochs")
    if result["looked_at"]:
        lines += ["", "A look at other recordings, whose truth is not used"]
    return "\n".join([*lines, *map(_look_line, result["looked_at"])]) + "\n" + NOTES


def _spindle_cells(metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return "  not trained for spindles"
    each = "".join(f"{_number(f1):>11}" for f1 in metrics["f1_each"])
    f1, precision, recall = (_number(metrics[key]) for key in ("f1", "precision", "recall"))
    return f"{f1:>6}{precision:>11}{recall:>8}{each}{metrics['n_predicted']:>7}"


def _look_line(seen: dict[str, Any]) -> str:
    shares = " ".join(f"{stage} {share:.0%}" for stage, share in seen["shares"].items() if share)
    events = ", ".join(f"{what} {n}" for what, n in seen["events"].items() if n)
    said = f"{shares}, confidence {_number(seen['confidence'])}" if shares else "no stage"
    parts = [f"{seen['epochs']} epochs", " ".join(seen["channels"]), said, events]
    return f"  {seen['file']}: " + "; ".join(part for part in parts if part)


def _number(value: float | None) -> str:
    """Two digits; a dash for what does not exist."""
    return "–" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--out", type=Path, help="a folder for the table and the numbers")
    parser.add_argument("--look", type=Path, help="a folder of recordings to score and show")
    options = parser.parse_args()
    if "SLEEPMAMI_REAL_DATA" not in os.environ:
        parser.error("SLEEPMAMI_REAL_DATA names no folder of real recordings; see the docstring of this file")
    if not has_yasa():
        print("YASA is not installed: its rows are left out. `pip install yasa` adds them.")
    result = run(load(options.model), Path(os.environ["SLEEPMAMI_REAL_DATA"]), options.look)
    print(table(result), end="")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "people.txt").write_text(table(result))
        (options.out / "people.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
