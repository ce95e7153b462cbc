"""One night and one prediction -> scores, and the folder of five files that says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.night import STAGES, Event, EventKind, Modality, Night, breathing_was_scored
from data_pipeline.runs import runs
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.scoring import files, report
from sleepmami_jax.scoring.events import arousals, breathing_events, breathing_probability, mean_probability
from sleepmami_jax.scoring.oximetry import (
    ODI_RULE,
    counted_desaturations,
    desaturations,
    hypoxic_burden,
    oximetry_statistics,
    valid_spo2,
)
from sleepmami_jax.scoring.prediction import Prediction, Scores, Thresholds
from sleepmami_jax.scoring.rules import (
    AROUSAL_MAX_S,
    BREATHING_MAX_S,
    counted_arousals,
    counted_breathing,
    link_arousals,
    link_desaturations,
)
from sleepmami_jax.scoring.statistics import (
    INDEX_SLEEP_MIN,
    RULES,
    arousal_statistics,
    breathing_statistics,
    sleep_statistics,
)

ONE_STAGE_SHARE = 0.85
LOW_CERTAINTY = 0.5
LOW_SPO2_SHARE = 0.8
LOW_SCORED_SHARE = 0.9
LOW_KAPPA = 0.4
"""Below it agreement is less than moderate (Landis and Koch 1977)."""
AWAKENING_S = 60.0
"""A stretch that looks like one arousal for longer than this is no arousal."""


def summarise(
    night: Night, prediction: Prediction, thresholds: Thresholds, model_card: Mapping[str, Any]
) -> Scores:
    """Scores a night: stages, events that count, statistics, agreement with a human scoring, warnings.

    Args:
      night: the recording, with `scoring` when somebody scored it.
      prediction: the model's outputs for this night.
      thresholds: of the same model.
      model_card: facts about the model for a reader: `name`, `version`, `trained_on` (words), and any others.

    Raises:
      ValueError: the prediction or the human scoring is of another length than the night.
    """
    if len(prediction.stage_probs) != night.n_epochs or not night.n_epochs:
        raise ValueError(
            f"night {night.night_id}: the prediction has {len(prediction.stage_probs)} epochs, the night "
            f"{night.n_epochs}; expected the prediction of this night, at least 30 s long"
        )
    stages = np.where(prediction.scorable, prediction.stage_probs.argmax(axis=1), -1).astype(np.int8)
    unavailable = prediction.unavailable
    oximeter = next((c for c in night.channels if c.modality == Modality.SPO2), None)
    spo2 = valid_spo2(oximeter) if oximeter is not None else np.full(night.duration_s, np.nan)
    if not np.isfinite(spo2).any():
        unavailable.setdefault("oximetry", "no valid SpO2 value")
    statistics: dict[str, Any] = dict(sleep_statistics(stages))
    rules = dict(RULES)

    breathing: tuple[Event, ...] = ()
    if "breathing" not in unavailable:
        found = breathing_events(prediction.respiratory_probs, thresholds.respiratory)
        breathing = counted_breathing(found, stages)
        statistics |= breathing_statistics(breathing, stages)
    aroused: tuple[Event, ...] = ()
    if "arousal" not in unavailable:
        aroused = counted_arousals(arousals(prediction.arousal_probs, thresholds.arousal), stages)
        with_breathing = breathing if "breathing" not in unavailable else None
        statistics |= arousal_statistics(aroused, with_breathing, stages)
    desaturated = ()
    if "oximetry" not in unavailable:
        desaturated = counted_desaturations(desaturations(spo2), stages)
        statistics["desaturations"] = len(desaturated)
        statistics |= oximetry_statistics(spo2, desaturated, stages)
        rules["odi3_per_h"] = f"ODI3: {ODI_RULE}, per hour of sleep with a valid SpO2"
        if "breathing" not in unavailable:
            burden, burden_rule = hypoxic_burden(spo2, breathing, statistics["tst_min"])
            statistics["hypoxic_burden_pct_min_per_h"] = burden
            rules["hypoxic_burden_pct_min_per_h"] = burden_rule

    p_breathing = breathing_probability(prediction.respiratory_probs)
    families = (
        [(event, mean_probability(p_breathing, event)) for event in breathing],
        [(event, mean_probability(prediction.arousal_probs, event)) for event in aroused],
        [(fall.event, None) for fall in desaturated],
    )
    order = sorted(
        (event.onset_s, family, i)
        for family, members in enumerate(families)
        for i, (event, _) in enumerate(members)
    )
    place = {(family, i): n for n, (_, family, i) in enumerate(order)}
    links: list[list[int]] = [[] for _ in order]
    nadirs_s = [fall.nadir_s for fall in desaturated]
    for family, linked in (
        (1, link_arousals(breathing, aroused)),
        (2, link_desaturations(breathing, nadirs_s)),
    ):
        for i, j in linked.items():
            links[place[0, i]].append(place[family, j])
            links[place[family, j]].append(place[0, i])

    agreement = _agreement(night, stages, breathing, aroused, unavailable)
    return Scores(
        stages=stages,
        stage_probs=prediction.stage_probs,
        events=tuple(families[family][i][0] for _, family, i in order),
        confidences=tuple(families[family][i][1] for _, family, i in order),
        links=tuple(map(tuple, links)),
        statistics=statistics,
        rules={key: rule for key, rule in rules.items() if key in statistics},
        agreement=agreement,
        unavailable=unavailable,
        missing=tuple(prediction.missing),
        warnings=(
            *night.defects,
            *_warnings(prediction, stages, statistics, unavailable),
            *_too_long(prediction, thresholds, unavailable),
            *_disagreement(agreement, stages),
        ),
        model_card=dict(model_card),
    )


def _agreement(night, stages, breathing, aroused, unavailable) -> dict[str, dict[str, Any]]:
    scoring = night.scoring
    if scoring is None:
        return {}
    # scikit-learn takes longer to import than many a night to score: only where there is something to compare.
    from sleepmami_jax.evaluation.events import event_metrics
    from sleepmami_jax.evaluation.staging import staging_metrics

    agreement = {}
    human_stages = stages
    if "stages" in scoring.scored:
        human_stages = scoring.stages
        if len(human_stages) != len(stages):
            raise ValueError(
                f"night {night.night_id}: the human scoring has {len(human_stages)} epochs, "
                f"the night {len(stages)}"
            )
        if ((human_stages >= 0) & (stages >= 0)).any():
            agreement["stages"] = staging_metrics([human_stages], [stages])
    if breathing_was_scored(scoring.scored) and "breathing" not in unavailable:
        human = counted_breathing(scoring.events, human_stages)
        agreement["breathing"] = event_metrics([human], [breathing])
        agreement["breathing"]["human_ahi_per_h"] = breathing_statistics(human, human_stages)["ahi_per_h"]
    if EventKind.AROUSAL in scoring.scored and "arousal" not in unavailable:
        human = counted_arousals(scoring.events, human_stages)
        agreement["arousal"] = event_metrics([human], [aroused])
    return agreement


def _warnings(prediction, stages, statistics, unavailable):
    """What a reader must know before believing the numbers, a sentence each."""
    missing = set(prediction.missing)
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
    if Modality.RESP in missing and Modality.SPO2 not in missing:
        yield "Without breathing sensors the breathing events come from the oximeter and other signals only."
    for task, reason in unavailable.items():
        yield f"Not available: {task} ({reason}). This is not a count of zero."
    if not statistics["tst_min"]:
        yield "No epoch is scored as sleep: indices per hour of sleep do not exist."
    elif statistics["tst_min"] < INDEX_SLEEP_MIN:
        yield f"Only {statistics['tst_min']:.0f} min of sleep: indices per hour are uncertain."
    valid_min = statistics.get("spo2_valid_sleep_min")
    if valid_min is not None and valid_min < LOW_SPO2_SHARE * statistics["tst_min"]:
        yield f"SpO2 is valid in {valid_min:.0f} of {statistics['tst_min']:.0f} min of sleep only."


def _too_long(prediction, thresholds, unavailable):
    """Stretches that the model marks and that are too long to be what it calls them."""
    for task, probs, threshold, longest_s, kind, fate in (
        (
            "breathing",
            breathing_probability(prediction.respiratory_probs),
            thresholds.respiratory,
            BREATHING_MAX_S,
            "breathing events",
            "and are not counted",
        ),
        (
            "arousal",
            prediction.arousal_probs,
            thresholds.arousal,
            AWAKENING_S,
            "an arousal",
            f"and count as one of {AROUSAL_MAX_S:.0f} s each: they may be wakefulness, or noise",
        ),
    ):
        lengths = [stop - start for start, stop in runs(probs > threshold)]
        too_long = [length for length in lengths if length > longest_s]
        if task not in unavailable and too_long:
            yield (
                f"{len(too_long)} stretches that look like {kind} last longer than {longest_s:.0f} s "
                f"(the longest {max(too_long)} s) {fate}."
            )


def _disagreement(agreement, stages):
    """What the scoring given says against these stages, or cannot say."""
    if "stages" not in agreement:
        return
    kappa, compared = agreement["stages"]["kappa"], agreement["stages"]["n_epochs"]
    if kappa is not None and kappa < LOW_KAPPA:
        yield (
            f"The stages disagree with the scoring given: kappa {kappa:.2f}, accuracy "
            f"{agreement['stages']['accuracy']:.2f}. Do not rely on them."
        )
    scored = int((stages >= 0).sum())
    if compared < LOW_SCORED_SHARE * scored:
        yield f"The scoring given covers {compared} of {scored} epochs only. Is it the scoring of this recording?"


def write_scores(scores: Scores, night: Night, out: Path) -> None:
    """Writes `report.html`, `stages.csv`, `events.csv`, `summary.json` and `annotations.edf` into a folder.

    The folder appears complete or not at all. An earlier score in it is replaced; anything else there is not.

    Raises:
      ValueError: `out` is a file, or holds other things than an earlier score.
    """
    _refuse_foreign(Path(out))
    with whole_folder(Path(out)) as fresh:
        texts = {
            "report.html": report.render(scores, night),
            "stages.csv": files.stages_csv(scores),
            "events.csv": files.events_csv(scores),
            "summary.json": files.summary_json(scores, night),
        }
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
        files.annotations_edf(scores).write(fresh / "annotations.edf")


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file; expected a folder to write the score into, or a new name")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    try:
        ours = json.loads((out / "summary.json").read_text(encoding="utf-8"))["format"] == files.FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours or names - set(files.NAMES):
        foreign = (
            ", ".join(sorted(names - set(files.NAMES))[:3]) or "files by our names that we did not write"
        )
        raise ValueError(f"{out} holds {foreign}; choose an empty or new folder, nothing was overwritten")
