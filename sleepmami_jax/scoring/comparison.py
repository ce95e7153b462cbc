"""A prediction beside a human scoring of the same night: how far they agree, and which of them is in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipeline.night import EPOCH_S, Event, Night, Scoring
from data_pipeline.tasks import APNEA_TYPE, BREATHING
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import Room
from sleepmami_jax.tasks.room import Counted

LOW_SCORED_SHARE = 0.9
LOW_KAPPA = 0.4
"""Below it agreement is less than moderate (Landis and Koch 1977)."""
SHIFTED_KAPPA = 0.5
"""What a scoring that disagrees must reach by being moved before its start is doubted (assumed)."""


def agreement_with(
    night: Night, prediction: Prediction, rooms: Sequence[Room], counted: Counted
) -> dict[str, dict[str, Any]]:
    """Of stages and of each task that the scorer looked for, how far a prediction agrees with a night's scoring.

    Raises:
      ValueError: the scoring is of another length than the night.
    """
    scoring, stages = night.scoring, prediction.stages
    if scoring is None:
        return {}
    # scikit-learn takes longer to import than many a night to score: only where there is something to compare.
    from sleepmami_jax.metrics.events import event_metrics, type_metrics
    from sleepmami_jax.metrics.staging import staging_metrics

    agreement = {}
    human_stages = stages
    if "stages" in scoring.scored:
        human_stages = scoring.stages
        if len(human_stages) != len(stages):
            raise ValueError(
                f"night {night.night_id}: the human scoring has {len(human_stages)} epochs, the night {len(stages)}"
            )
        if ((human_stages >= 0) & (stages >= 0)).any():
            agreement["stages"] = staging_metrics([human_stages], [stages])
    human: dict[str, tuple[Event, ...]] = {}
    for room in rooms:
        if room.task.was_scored(scoring.scored):
            name = room.task.name
            monitored = prediction.monitored_stages(room.task, human_stages)
            human[name] = room.counted(scoring.events, monitored)
            index = {f"human_{room.index}": room.statistics(human, monitored)[room.index]}
            agreement[name] = event_metrics([human[name]], [counted[name]]) | index
    if BREATHING.name in human and APNEA_TYPE.name in prediction.probs and APNEA_TYPE.was_scored(scoring.scored):
        agreement[APNEA_TYPE.name] = type_metrics([human[BREATHING.name]], [counted[BREATHING.name]])
    return agreement


def disagreement(
    agreement: Mapping[str, Mapping[str, Any]], stages: np.ndarray, scoring: Scoring | None
) -> Iterator[str]:
    """What the scoring given says against these stages (E,), or cannot say; or what is wrong with the scoring."""
    if "stages" not in agreement:
        return
    from sleepmami_jax.metrics.staging import best_shift

    kappa, compared = agreement["stages"]["kappa"], agreement["stages"]["n_epochs"]
    is_low = kappa is not None and kappa < LOW_KAPPA
    shift, moved_kappa = best_shift(scoring.stages, stages) if is_low else (0, -1.0)
    if is_low and shift and moved_kappa >= SHIFTED_KAPPA:
        yield (
            f"The scoring given does not seem to begin with the recording: moved by {shift * EPOCH_S / 60:g} min it "
            f"agrees with kappa {moved_kappa:.2f} instead of {kappa:.2f}. Mend the scoring before you compare."
        )
    elif is_low:
        yield (
            f"The stages disagree with the scoring given: kappa {kappa:.2f}, accuracy "
            f"{agreement['stages']['accuracy']:.2f}. Do not rely on them."
        )
    scored = int((stages >= 0).sum())
    if compared < LOW_SCORED_SHARE * scored:
        yield f"The scoring given covers {compared} of {scored} epochs only. Is it the scoring of this recording?"
