"""Why a night may be wrong, in words that say what to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from data_pipeline.modalities import Modality
from sleepmami_jax.trust.looks import Look, edges, names
from sleepmami_jax.trust.measures import ALLOWED
from sleepmami_jax.trust.reference import Reference, Risk

MISTAKEN = 0.6
"""A channel that is so much nearer to another kind than to its own was probably taken for it (ratio of distances)."""
CONSPICUOUS = 2.0
"""Standard deviations of a number that is worth a word of its own."""
GONE = -2.5
"""Decimal logarithm of a band's share of power that only a filter, or too coarse a step, leaves so small."""
UNIT_DECADES = 1.3
"""Decades of amplitude between a night and the usual that are no person's: twentyfold."""
TELLING = 0.7
"""Log odds that a measure adds over what is usual: it doubles a small chance of being wrong."""
WORDS = {
    "unsure": "the model itself is unsure of many epochs",
    "alike": "the stages found hardly differ in the spectra of the EEG, as of a signal that is no EEG",
    "repeated": "{:.0%} of the epochs are others over again: the recording was looped or joined from copies",
    "one stage": "nearly all of the night is one stage",
    "restless": "the stage changes more often than in a night of sleep",
    "not scored": "{:.0%} of the epochs have no usable signal",
    "EEG absent": "there is no EEG, which stages are defined by",
}
"""By measure, see `measures.of_night`."""


def channel_reasons(reference: Reference, looks: Sequence[Look]) -> tuple[str, ...]:
    """A sentence for each thing that is wrong with channels, those of one kind and one fault together."""
    said = [(fault, look.slot) for look in looks for fault in _faults(reference, look)]
    said.sort(key=lambda pair: pair[0])
    return tuple(
        f"{', '.join(slot for _, slot in pairs)}: {fault}"
        for fault, pairs in ((fault, list(group)) for fault, group in groupby(said, key=lambda pair: pair[0]))
    )


def unlike(reference: Reference, look: Look) -> bool:
    """Whether a channel looks less like its kind than people's may."""
    distance = reference.distance(look)
    return distance is not None and distance > ALLOWED * reference.looks[look.modality].far


def _faults(reference: Reference, look: Look) -> Iterator[str]:
    if not unlike(reference, look):
        return
    own = reference.distance(look)
    others = {
        kind: d
        for kind in reference.looks
        if kind != look.modality and (d := reference.distance(look, Modality(kind))) is not None
    }
    nearest = min(others, key=others.get, default=None)
    if nearest is not None and others[nearest] < MISTAKEN * own:
        yield f"looks like {_a(nearest)}, not like {_a(look.modality)}: are leads exchanged, or labels?"
        return
    yield _shape_fault(reference, look)
    known = reference.levels.get(look.modality)
    if known and look.modality.facts.unit and abs(gap := look.level - known.mean[0]) > UNIT_DECADES:
        times = 10 ** abs(gap)
        yield f"{times:.0f} times {'larger' if gap > 0 else 'smaller'} than usual: check its unit"


def _shape_fault(reference: Reference, look: Look) -> str:
    shape = dict(zip(names(look.modality), look.shape, strict=True))
    scaled = zip(names(look.modality), reference.looks[look.modality].z(look.shape), strict=True)
    z = {name: float(value) for name, value in scaled if np.isfinite(value)}
    if look.modality.facts.is_value:
        name = max(z, key=lambda name: abs(z[name]))
        return {
            "median": "values that are no person's saturation: is it another quantity, or another scale?",
            "spread": "varies as no saturation does: is it another quantity?",
            "steps a minute": "moves as no oximeter does: is it another quantity, or a restless hand?",
            "share of the commonest value": "hardly ever changes: is the oximeter stuck?",
        }[name]
    bands = [name for name in z if name.endswith("Hz")]
    half = len(edges(look.modality)) // 2
    border = f"{edges(look.modality)[half]:g} Hz"
    low, high = bands[:half], bands[half:]
    gone = {name for name in bands if z[name] < -CONSPICUOUS and shape[name] < GONE}
    if bands[-1] in gone:
        return f"hardly any power above {border}: filtered, or stored in too coarse steps"
    if bands[0] in gone:
        return f"hardly any power below {border}: filtered"
    for side, there, why in (
        ("above", high, "noise, mains, or muscle instead of the signal"),
        ("below", low, "drift, sweat or movement of the lead"),
    ):
        if max((z[name] for name in there), default=0.0) > CONSPICUOUS:
            return f"too much power {side} {border}: {why}"
    return f"is unlike every {look.modality} of the nights that the model learned from"


def never_reasons(reference: Reference) -> tuple[str, ...]:
    """What the model cannot find because it never met it."""
    if not reference.never:
        return ()
    return (
        f"no night that the model learned from had {' or '.join(reference.never)}: where there is any, it is missed",
    )


def measure_reasons(risk: Risk, measures: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for each measure of the night that makes it more probable to be wrong than usual nights are.

    Args:
      risk: of some task. measures: see `measures.of_night`.
    """
    over = {
        name: weight * (measures[name] - usual)
        for name, weight, usual in zip(risk.measures, risk.weights, risk.usual, strict=True)
        if name in WORDS
    }
    telling = sorted((name for name in over if over[name] > TELLING), key=lambda name: -over[name])
    return tuple(WORDS[name].format(measures[name]) for name in telling)


def _a(kind: str) -> str:
    return {"EEG": "an EEG", "EOG": "an EOG", "EMG": "an EMG", "ECG": "an ECG"}.get(kind, f"a {kind}")
