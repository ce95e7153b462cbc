"""One night and one prediction -> scores, and the folder of six files that says them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_pipeline.modalities import Modality
from data_pipeline.night import STAGES, UNKNOWN_LIGHTS, Night
from data_pipeline.population.norms import Norm, percentile
from data_pipeline.runs import runs
from data_pipeline.tasks import BREATHING
from data_pipeline.tasks import STAGES as STAGING
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.scoring import files, report
from sleepmami_jax.scoring.comparison import agreement_with, disagreement
from sleepmami_jax.scoring.found import Found, find, is_child
from sleepmami_jax.scoring.listing import list_events
from sleepmami_jax.scoring.prediction import Prediction, Scores
from sleepmami_jax.scoring.signals import Signals, read_signals
from sleepmami_jax.tasks import Room
from sleepmami_jax.tasks import stages as stage_room
from sleepmami_jax.tasks.oximetry import ODI_RULE, hypoxic_burden, oximetry_statistics
from sleepmami_jax.tasks.room import event_probability
from sleepmami_jax.tasks.rules import sleep_minutes
from sleepmami_jax.tasks.stages import EPOCH_MIN, INDEX_SLEEP_MIN, architecture, sleep_statistics
from sleepmami_jax.trust.judge import Reliability

ONE_STAGE_SHARE = 0.85
LOW_CERTAINTY = 0.5
LOW_SPO2_SHARE = 0.8
LOW_MONITORED_SHARE = 0.95
CONTRADICTION_PER_H, CONTRADICTION_RATIO = 10.0, 2.0
"""Between ODI and AHI: more than two severities of apnea apart, and one twice the other (assumed)."""
MONITORED_RULE = (
    "monitored sleep: epochs of sleep, not those that the model is unsure of, in which a sensor that the task is "
    "scored from was usable; its statistics are of the events there, and its indices are per hour of it"
)


def summarise(
    night: Night,
    prediction: Prediction,
    thresholds: Mapping[str, float],
    model_card: Mapping[str, Any],
    reliability: Reliability | None = None,
    *,
    rules: Literal["adult", "child"] | None = None,
    supine: Collection[float] = (),
) -> Scores:
    """Scores a night: stages, events that count, statistics, agreement with a human scoring, warnings.

    Args:
      night: the recording, with `scoring` when somebody scored it.
      prediction: the model's outputs for this night.
      thresholds: of the same model, by name of the task: probabilities above which a second belongs to an event.
      model_card: facts about the model for a reader: `name`, `version`, `trained_on` (words), and any others.
      reliability: how far to believe the prediction. Epochs whose stage is more likely wrong than right, and what
        happens in them, are listed, and left out of what is counted per hour.
      rules: of whom breathing is scored; by the age of the person unless given, of an adult where that is unknown.
      supine: codes of the position channel that mean supine.

    Raises:
      ValueError: the prediction or the human scoring is of another length than the night, or `rules` are of nobody.
    """
    if len(prediction.scorable) != night.n_epochs or not night.n_epochs:
        raise ValueError(
            f"night {night.night_id}: the prediction has {len(prediction.scorable)} epochs, the night "
            f"{night.n_epochs}; expected the prediction of this night, at least 30 s long"
        )
    child = is_child(night, rules)
    found = find(night, prediction, thresholds, reliability, child=child)
    stages, rooms, monitored = prediction.stages, found.rooms, found.monitored
    statistics, definitions = _times_of_sleep(night, stages)
    if reliability is not None:
        statistics["unsure_min"] = int(found.unsure.sum()) * EPOCH_MIN
    for room in rooms:
        statistics |= room.statistics(found.sure, monitored[room.task.name])
        definitions |= room.definitions
    statistics |= {f"{name}_monitored_min": sleep_minutes(own) for name, own in monitored.items()}
    definitions |= {f"{name}_monitored_min": MONITORED_RULE for name in [*monitored][:1]}  # said once
    if found.falls is not None:
        measured, own_rules = _oximetry(found, stages)
        statistics |= measured
        definitions |= own_rules
    listing = list_events(night, prediction, found, child=child, supine=supine)
    statistics |= {key: value for key, value in listing.statistics.items() if key not in statistics}
    if BREATHING.name in monitored:
        statistics["breathing_rules"] = "child" if child else "adult"
    definitions |= listing.definitions
    agreement = agreement_with(night, prediction, rooms, found.counted)
    return Scores(
        stages=stages,
        stage_probs=prediction.stage_probs if reliability is None else reliability.stage_probs,
        tasks=prediction.event_tasks,
        events=listing.events,
        confidences=listing.confidences,
        links=listing.links,
        statistics=statistics,
        rules={key: rule for key, rule in definitions.items() if key in statistics},
        agreement=agreement,
        monitored={room.task.name: prediction.monitored(room.task) for room in rooms},
        unavailable=found.unavailable,
        missing=prediction.missing,
        warnings=(
            *night.defects,
            *(_unreliable(reliability, rooms) if reliability is not None else ()),
            *_warnings(prediction, statistics, found.unavailable),
            *_contradictions(statistics),
            *_unmonitored(rooms, prediction),
            *_endless(prediction, rooms, thresholds),
            *disagreement(agreement, stages, night.scoring),
        ),
        model_card=dict(model_card),
        reliability=reliability,
        **{name: getattr(listing, name) for name in ("type_probabilities", "counts_as", "why_not")},
        rejected=found.rejected,
        **{name: getattr(night, name) for name in ("night_id", "start_clock", "start_day")},
    )


def beside(scores: Scores, norm: Norm | None) -> Scores:
    """The same with its percentiles among people like this one whom the model learned from; None is nobody known."""
    if norm is None:
        return scores
    told = {key: value for key, value in scores.statistics.items() if key in norm.spreads and value is not None}
    percentiles = {key: percentile(norm.spreads[key], value) for key, value in told.items()}
    return replace(scores, norm=str(norm), percentiles=percentiles)


def _times_of_sleep(night: Night, stages: np.ndarray) -> tuple[dict[str, Any], dict[str, str]]:
    """Times and shares of sleep, between lights off and on where they are marked, and their definitions."""
    rules = stage_room.DEFINITIONS | (stage_room.LIGHTS if night.lights_s != UNKNOWN_LIGHTS else {})
    in_bed = stage_room.in_bed(stages, night.lights_s)
    return dict(sleep_statistics(in_bed)) | architecture(in_bed), rules


def _oximetry(found: Found, stages: np.ndarray) -> tuple[dict[str, Any], dict[str, str]]:
    """The statistics of the oximeter, and how they are defined."""
    statistics = {"desaturations": len(found.falls)} | oximetry_statistics(found.spo2, found.falls, stages)
    rules = {"odi3_per_h": f"ODI3: {ODI_RULE}, per hour of sleep with a valid SpO2"}
    if BREATHING.name in found.sure:
        slept_min = sleep_minutes(found.monitored[BREATHING.name])
        burden, rule = hypoxic_burden(found.spo2, found.sure[BREATHING.name], slept_min)
        statistics["hypoxic_burden_pct_min_per_h"], rules["hypoxic_burden_pct_min_per_h"] = burden, rule
    return statistics, rules


def _unreliable(reliability: Reliability, rooms: Sequence[Room]):
    """What is more likely wrong than right, and what is unusual about the night."""
    titles = {STAGING.name: "Stages"} | {room.task.name: room.task.title for room in rooms}
    lost = [titles[name] for name, reliable in reliability.reliable.items() if not reliable and name in titles]
    if lost:
        yield f"Not reliable on this night, more likely wrong than right: {', '.join(lost)}."
    for reason in reliability.reasons:
        yield f"Unusual: {reason}"


def _warnings(prediction: Prediction, statistics, unavailable):
    """What a reader must know before believing the numbers, a sentence each."""
    missing, stages = set(prediction.missing), prediction.stages
    scored = stages[stages >= 0]
    if not len(scored):
        yield "No epoch has a usable signal: nothing could be scored."
        return
    if len(scored) < len(stages):
        yield f"{len(stages) - len(scored)} of {len(stages)} epochs have no usable signal and are not scored."
    counts = np.bincount(scored, minlength=len(STAGES))
    if counts.max() >= ONE_STAGE_SHARE * len(scored):
        yield (
            f"{100 * counts.max() / len(scored):.0f} % of the scored epochs are {STAGES[counts.argmax()]}: "
            "this recording may be unlike those that the model learned from."
        )
    certainty = float(prediction.stage_probs[stages >= 0].max(axis=1).mean())
    if certainty < LOW_CERTAINTY:
        yield f"The model is unsure of the stages: it gives its own choice {certainty:.2f} on average."
    if Modality.EEG in missing:
        yield "Without EEG the stages come from other signals and deserve less trust."
    if Modality.RESP in missing and BREATHING.name not in unavailable:
        yield "Without breathing sensors the breathing events come from the oximeter and other signals only."
    for task, reason in unavailable.items():
        yield f"Not available: {task.replace('_', ' ')} ({reason}). This is not a count of zero."
    if not statistics["tst_min"]:
        yield "No epoch is scored as sleep: indices per hour of sleep do not exist."
    elif statistics["tst_min"] < INDEX_SLEEP_MIN:
        yield f"Only {statistics['tst_min']:.0f} min of sleep: indices per hour are uncertain."
    valid_min = statistics.get("spo2_valid_sleep_min")
    if valid_min is not None and valid_min < LOW_SPO2_SHARE * statistics["tst_min"]:
        yield f"SpO2 is valid in {valid_min:.0f} of {statistics['tst_min']:.0f} min of sleep only."


def _contradictions(statistics):
    """What two sensors say against each other."""
    odi, ahi = statistics.get("odi3_per_h"), statistics.get("ahi_per_h")
    if odi is None or ahi is None:
        return
    high, low = max(odi, ahi), min(odi, ahi)
    if high - low > CONTRADICTION_PER_H and high > CONTRADICTION_RATIO * low:
        why = (
            "desaturations that no breathing event explains: is a breathing sensor missed, or the oximeter restless?"
            if odi > ahi
            else "breathing events without desaturations: is the oximeter stuck, or a breathing sensor noisy?"
        )
        yield f"ODI {odi:.0f} beside AHI {ahi:.0f}: {why}"


def _unmonitored(rooms: Sequence[Room], prediction: Prediction):
    """Tasks whose sensors were there for a part of the sleep only."""
    tst_min = sleep_minutes(prediction.stages)
    for room in rooms:
        monitored_min = sleep_minutes(prediction.monitored_stages(room.task))
        if monitored_min < LOW_MONITORED_SHARE * tst_min:
            yield (
                f"{room.task.title}: a sensor for it was usable in {monitored_min:.0f} of {tst_min:.0f} min of sleep "
                f"only; its events and indices are of these."
            )


def _endless(prediction: Prediction, rooms: Sequence[Room], thresholds: Mapping[str, float]):
    """Stretches that the model marks and that are too long to be what it calls them."""
    for room in rooms:
        if room.endless is None:
            continue
        longest_s, fate = room.endless
        marked = event_probability(prediction.probs[room.task.name]) > thresholds[room.task.name]
        lengths_s = ((stop - start) / room.task.rate_hz for start, stop in runs(marked))
        too_long = [length_s for length_s in lengths_s if length_s > longest_s]
        if too_long:
            yield (
                f"Stretches that look like {room.task.plural} but last longer than {longest_s:.0f} s "
                f"({len(too_long)} in all, the longest {max(too_long):.0f} s) {fate}."
            )


def write_scores(scores: Scores, night: Night, out: Path, signals: Signals | None = None) -> None:
    """Writes the files of `files.NAMES` into a folder.

    The folder appears complete or not at all. An earlier score in it is replaced; anything else there is not.

    Args:
      signals: what the report shows of the night's waves; read from the night unless given.

    Raises:
      ValueError: `out` is a file, or holds other things than an earlier score.
    """
    files.refuse_foreign(Path(out))
    with whole_folder(Path(out)) as fresh:
        texts = {
            "report.html": report.render(scores, night, read_signals(night) if signals is None else signals),
            "stages.csv": files.stages_csv(scores),
            "events.csv": files.events_csv(scores),
            "rejected.csv": files.rejected_csv(scores),
            "summary.json": files.summary_json(scores, night),
        }
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
        files.annotations_edf(scores).write(fresh / "annotations.edf")
