"""What the twin must know of signals, tokens and events: the decisions of this package, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from data_pipeline.modalities import MODALITIES, MODALITY_OF, Modality
from data_pipeline.night import BLOCK_S, STAGES, survey
from data_pipeline.shards.scale import PERCENTILE_SAMPLES
from data_pipeline.signals import contact, filters
from data_pipeline.tasks import FAST_HZ, Task, TaskKind
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.data.arrays import IQR_OF_NORMAL, MIN_GOOD_SHARE
from sleepmami_jax.models.micro import layout
from sleepmami_jax.models.stem import MOST_BINS, looks_of, n_features
from sleepmami_jax.tasks import rooms_of
from sleepmami_jax.tasks.arousal import SEPARATION_S
from sleepmami_jax.tasks.limb_movement import BILATERAL_S

_FACTS = ("high_pass_hz", "margin_s", "flat_s", "cut_share", "largest_typical", "limits", "normalised_by", "clip")
_OF_CONTACT = {
    "harmonics": contact.HARMONICS,
    "hum_ratio": contact.HUM_RATIO,
    "white_ratio": contact.WHITE_RATIO,
    "white_s": contact.WHITE_S,
    "white_bands": [[band.start, band.stop] for band in (contact.LOW, contact.HIGH)],
    "dropped_s": contact.DROPPED_S,
    "still_share": contact.STILL_SHARE,
    "still_max_s": contact.STILL_MAX_S,
    "rail_samples": contact.RAIL_SAMPLES,
}
_SEPARATION = {"arousal": (SEPARATION_S, "end"), "limb_movement": (BILATERAL_S, "onset")}
"""Task -> how far an event lies at least from the last one's end or onset."""
_CUT = ("arousal",)
"""Tasks whose events are cut where they last too long, instead of left out."""
_WHOLE = ("breathing",)
"""Tasks of which two marks that are each long enough stay two."""


def preprocessing(config: ModelConfig, tasks: Sequence[Task]) -> dict[str, Any]:
    """The section `preprocessing` of the twin's `config.json`."""
    needs = sorted({need for task in tasks for need in task.needs})
    return {
        "stages": list(STAGES),
        "fast_hz": FAST_HZ,
        "modalities": {m.value: _modality(m, config) for m in layout(config.modalities).tokens},
        "min_good_share": MIN_GOOD_SHARE,
        "iqr_of_normal": IQR_OF_NORMAL,
        "percentile_samples": PERCENTILE_SAMPLES,
        "block_s": BLOCK_S,
        "survey_pieces": len(survey(24 * 3600)),
        "survey_piece_s": survey(24 * 3600)[0][1],
        "mains_hz": filters.MAINS_HZ,
        "mains_ratio": filters.MAINS_RATIO,
        "notch_q": filters.NOTCH_Q,
        "contact": _OF_CONTACT,
        "sensors": {need: [need] if need in MODALITY_OF else MODALITIES[Modality(need)].slots for need in needs},
        "counting": {task.name: _counting(task) for task in tasks if task.kind is TaskKind.EVENTS},
    }


def _modality(m: Modality, config: ModelConfig) -> dict[str, Any]:
    facts, spec = m.facts, config.modalities[m]
    looks = [
        {
            "window_s": look.window_s,
            "hop": int(look.hop_s * facts.rate_hz),
            "bands_hz": look.bands_hz,
            "most_bins": MOST_BINS,
        }
        for look in looks_of(m, spec.token_s)
    ]
    return {
        "slots": spec.slots,
        "token_s": spec.token_s,
        "rate_hz": facts.rate_hz,
        "unit": facts.unit,
        "features": n_features(m, spec.token_s),
        "looks": looks,
        "on_head": facts.on_head,
        "voltage": None if facts.voltage is None else asdict(facts.voltage),
        **{name: getattr(facts, name) for name in _FACTS},
    }


def _counting(task: Task) -> dict[str, Any]:
    (room,) = rooms_of((task,))
    separation_s, separated_from = _SEPARATION.get(task.name, (0.0, "end"))
    return {
        "whole_s": task.shortest_s if task.name in _WHOLE else 1e9,
        "separation_s": separation_s,
        "separated_from": separated_from,
        "cut": task.name in _CUT,
        "disturbed_by": sorted(map(str, room.disturbed_by)),
        "margin_s": room.margin_s,
        "lead_s": room.lead_s,
    }
