"""A model brought to a laboratory by the signals of its nights alone: no scoring is asked for.

Another amplifier, filter, mains or electrode moves every number of a micro token, and widens or narrows it, in the same
way all night: domain adaptation by matching first and second moments (a diagonal CORAL, Sun, Feng and Saenko 2016).
What the heads read is put where it lay in training, x -> scale * x + offset of each modality. These are linear layers,
so the change goes into their weights: an adapted model is a model folder like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.night import Night
from data_pipeline.shards.manifest import channel_entry
from data_pipeline.shards.scale import channel_scale
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError
from sleepmami_jax.models.macro import measured_width
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.models.sleepmami import Params
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.trust.judge import Tokens
from sleepmami_jax.trust.reference import Usual

FEWEST_EPOCHS = 60
"""Half an hour with a sensor: of less, nobody knows what is usual there."""
WIDEST = 3.0
"""A spread is made so many times wider or narrower at most: what does not move at all has none to be made wider."""
LEAST_GAIN = 0.02
"""Of the mean risk of an epoch, that a change must win to be made."""
MOST_TRIED = 12
"""Nights that the changes are tried on; what is usual is learnt from all."""

Affine = tuple[np.ndarray, np.ndarray]
"""scale (D,) above 0 and offset (D,) of the micro tokens of a modality."""


@dataclass(frozen=True)
class Adapted:
    """What became of a model.

    Attributes:
      folder: the adapted model; the one that was given where nothing was better.
      what: of `CHANGES`; "" where nothing was changed.
      nights: how many were looked at.
      risk_before, risk_after: mean chance that the stage of an epoch is wrong, as the model itself has it.
      restaged: share of epochs that have another stage now.
      moved, widened: by modality, how far its numbers lay from those of training, in standard deviations (root mean
        square), and how many times as wide they were spread (median).
    """

    folder: ModelFolder
    what: str
    nights: int
    risk_before: float
    risk_after: float
    restaged: float
    moved: dict[str, float]
    widened: dict[str, float]


CHANGES = {
    "the spread of every number": (False, True),
    "the level and the spread of what was learnt": (True, False),
    "the level and the spread of every number": (True, True),
}
"""What is tried: (is the level changed, are the numbers measured changed too)."""


def adapt(model: Pretrained, nights: Iterable[Night]) -> Adapted:
    """The model, made for such nights.

    The change is taken that leaves the model surest of its stages, and none that does not win `LEAST_GAIN`. Heads that
    read the night's vector, or waves of the EEG, read as before.

    Raises:
      ModelFolderError: the model does not know what is usual, or has no heads.
      ValueError: no night has a sensor that the model knows for `FEWEST_EPOCHS`.
    """
    reference = model.folder.reference
    if reference is None or not model.thresholds:
        raise ModelFolderError("this model does not know what is usual; expected one fine-tuned on validation nights")
    kept, heard = [], []
    for night in nights:
        tokens, ok = model.tokens(night)
        heard.append(model.heard(tokens, ok))
        if len(kept) < MOST_TRIED:
            kept.append((night, tokens, ok))
    laboratory = _laboratory(heard)
    known = {name: reference.tokens[name] for name in laboratory if name in reference.tokens}
    if not known:
        raise ValueError(f"no sensor that the model knows was usable for {FEWEST_EPOCHS} epochs, half an hour")
    before, stages = _tried(model, kept)
    best = Adapted(
        folder=model.folder,
        what="",
        nights=len(heard),
        risk_before=before,
        risk_after=before,
        restaged=0.0,
        moved={name: float(np.sqrt(np.square(usual.z(laboratory[name][0])).mean())) for name, usual in known.items()},
        widened={name: float(np.median(laboratory[name][1] / usual.sd)) for name, usual in known.items()},
    )
    for what, change in CHANGES.items():
        affines = {
            name: _affine(usual, *laboratory[name], model.folder.config.micro.dim, *change)
            for name, usual in known.items()
        }
        folder = folded(model.folder, affines)
        risk, staged = _tried(Pretrained(folder), kept)
        if risk < min(best.risk_after, before - LEAST_GAIN):
            restaged = float(np.mean(np.concatenate(staged) != np.concatenate(stages)))
            best = replace(best, folder=folder, what=what, risk_after=risk, restaged=restaged)
    if best.what:
        told = {"nights": best.nights, "change": best.what}
        best = replace(best, folder=replace(best.folder, card={**model.folder.card, "adapted": told}))
    return best


def _laboratory(heard: list[Tokens]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By modality, mean and standard deviation (D,) of the mean token of an epoch, over all nights."""
    found = {}
    for name in dict.fromkeys(name for night in heard for name in night):
        x = np.concatenate([night[name][0][night[name][1]] for night in heard if name in night]).astype(np.float64)
        if len(x) >= FEWEST_EPOCHS:
            found[name] = x.mean(axis=0), x.std(axis=0)
    return found


def _affine(usual: Usual, mean: np.ndarray, sd: np.ndarray, learnt: int, level: bool, measured: bool) -> Affine:
    scale = np.clip(np.array(usual.sd) / np.maximum(sd, 1e-6), 1 / WIDEST, WIDEST)
    target = np.array(usual.mean) if level else mean
    if not measured:
        scale[learnt:], target = 1.0, np.concatenate([target[:learnt], mean[learnt:]])
    return scale, target - scale * mean


def _tried(model: Pretrained, nights: list[tuple[Night, np.ndarray, np.ndarray]]) -> tuple[float, list[np.ndarray]]:
    """Mean risk of an epoch, and the stages of each night."""
    risks, stages = [], []
    for night, tokens, ok in nights:
        prediction = model.infer(tokens, ok, [channel_entry(c, channel_scale(c)) for c in night.channels])
        risks.append(model.judge(night, prediction, model.heard(tokens, ok)).epoch_risk)
        stages.append(prediction.stages)
    return float(np.concatenate(risks).mean()), stages


def folded(folder: ModelFolder, affines: Mapping[str, Affine]) -> ModelFolder:
    """The model whose heads read `scale * x + offset` in the place of a micro token x, modality by modality.

    >>> model = sleepmami_jax.load("demo/model").folder
    >>> same = np.ones(205), np.zeros(205)
    >>> folded(model, {"EEG": same}).digest() == model.digest()
    True
    """
    width, measured, dim = token_width(folder.config), measured_width(folder.config.modalities), folder.config.micro.dim
    known = {modality.value for modality in layout(folder.config.modalities).tokens}
    params: Params = dict(folder.params)
    for name, (scale, offset) in affines.items():
        if name not in known or len(scale) != width:
            raise ValueError(f"{name}: {len(scale)} numbers; expected {width} of one of {', '.join(sorted(known))}")
        spread = scale[dim : dim + measured]
        for room, rows in (("macro", [scale, spread]), ("seconds", [scale])):
            kernel_at, bias_at = (f"{room}/enter/maps/{name}/{what}" for what in ("kernel", "bias"))
            if kernel_at in params:
                kernel = np.asarray(params[kernel_at], np.float64)
                factor = np.ones(len(kernel))
                factor[: sum(map(len, rows))] = np.concatenate(rows)
                bias = params[bias_at] + offset @ kernel[:width]
                params[bias_at], params[kernel_at] = (
                    bias.astype(np.float32),
                    (factor[:, None] * kernel).astype(np.float32),
                )
    reference = folder.reference
    if reference is not None:
        tokens = dict(reference.tokens)
        for name, (scale, offset) in affines.items():
            usual = tokens[name]
            mean, sd = (np.array(usual.mean) - offset) / scale, np.array(usual.sd) / scale
            tokens[name] = Usual(tuple(map(float, mean)), tuple(map(float, sd)), usual.far)
        reference = replace(reference, tokens=tokens)
    changed = replace(folder, params=params, reference=reference)
    return changed.halved() if folder.half else changed
