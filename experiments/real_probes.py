"""Small probes on frozen features of one EEG channel, and YASA on the same samples.

Features are (S, F), one row a second: tokens of the Micro-Encoder or log band powers. Whatever they are, the same
logistic regression reads each second (or epoch) with its two neighbours, so that only the features differ.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import mne
import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Event, EventKind, Quality
from sleepmami_jax.metrics.events import fit_threshold
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.models.micro import layout
from sleepmami_jax.pretrained import Pretrained

from .real_nights import EegNight
from .spindles import centred, spindle_seconds, spindles_above

EEG_HZ = RATE_HZ[Modality.EEG]
BANDS_HZ = ((1, 4), (4, 8), (8, 11), (11, 16), (16, 25))
"""Delta, theta, alpha, sigma, beta; nothing above 25 Hz, where a recording of 50 Hz ends."""
SIGMA = 3
FIT = 50.0
"""What the mean log loss of a probe weighs against half the squared norm of its weights, on standardised features and
however many rows; never tuned."""


def token_seconds(model: Pretrained, recording: EegNight) -> np.ndarray:
    """(S, D) tokens of the EEG, one a second, standardised within the recording; 0 where there is none.

    Raises:
      ValueError: the model's EEG tokens are not one a second.
    """
    modalities = model.folder.config.modalities
    if modalities.EEG.token_s != 1:
        raise ValueError(f"model.modalities.EEG.token_s={modalities.EEG.token_s}: expected 1, a token a second")
    where = layout(modalities)
    span = where.span(Modality.EEG)
    tokens, ok = model.tokens(recording.night)
    return standardised(tokens[:, span].reshape(-1, tokens.shape[-1]), ok[:, span].ravel())


def band_seconds(recording: EegNight) -> np.ndarray:
    """(S, 5) log power in `BANDS_HZ` of each second (Hann), standardised within the recording; 0 where unusable."""
    seconds = recording.night.n_epochs * EPOCH_S
    samples = recording.eeg[: seconds * EEG_HZ].reshape(seconds, EEG_HZ)
    samples = samples - samples.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(samples * np.hanning(EEG_HZ + 2)[1:-1])) ** 2  # bin i is i Hz
    bands = np.stack([power[:, low:high].mean(1) for low, high in BANDS_HZ], 1)
    usable = recording.night.channels[0].quality[:seconds] == Quality.GOOD
    return standardised(np.log(bands + 1e-12), usable)


def standardised(features: np.ndarray, usable: np.ndarray | None = None) -> np.ndarray:
    """Mean 0 and deviation 1 of each column over usable rows; the others become 0, the mean."""
    usable = np.ones(len(features), bool) if usable is None else usable
    mean, deviation = features[usable].mean(0), features[usable].std(0)
    return np.where(usable[:, None], (features - mean) / (deviation + 1e-6), 0.0).astype(np.float32)


def with_neighbours(features: np.ndarray) -> np.ndarray:
    """(N, F) -> (N, 3 F): the row before, the row, the row after; 0 beyond the ends."""
    padded = np.pad(features, ((1, 1), (0, 0)))
    return np.concatenate([padded[:-2], features, padded[2:]], 1)


def probe(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    with threadpool_limits(1):  # so small a problem is slower on several threads
        return LogisticRegression(C=FIT / len(x), max_iter=500).fit(x, y)


def find_spindles(
    features: Sequence[np.ndarray], marks: Sequence[Sequence[Event]], scored_s: float
) -> list[list[Event]]:
    """Spindles of each recording, found by a detector that was fitted on the others.

    The threshold is the best one on the others too, each judged by a detector fitted without it.

    Args:
      features: (S, F) a recording.
      marks: of one expert, a recording each; believed in the first `scored_s` seconds.
    """
    truth = [centred(events, 0.0, scored_s) for events in marks]
    x = [f[: int(scored_s)] for f in features]
    y = [spindle_seconds(events, len(f)) for events, f in zip(marks, x, strict=True)]

    def fitted(places: Sequence[int]) -> LogisticRegression:
        return probe(np.concatenate([x[i] for i in places]), np.concatenate([y[i] for i in places]))

    found = []
    for held_out in range(len(x)):
        others = [i for i in range(len(x)) if i != held_out]
        probs = [fitted([k for k in others if k != i]).predict_proba(x[i])[:, 1] for i in others]
        threshold = fit_threshold(probs, [truth[i] for i in others], lambda p, level: centred(spindles_above(p, level)))
        found.append(spindles_above(fitted(others).predict_proba(x[held_out])[:, 1], threshold))
    return found


def epoch_features(seconds: np.ndarray) -> np.ndarray:
    """(S, F) -> (E, 3 F): the mean of each epoch, standardised within the recording, and of its neighbours."""
    means = seconds.reshape(-1, EPOCH_S, seconds.shape[1]).mean(1)
    return with_neighbours(standardised(means))


def probe_stages(train: Sequence[np.ndarray], stages: Sequence[np.ndarray], test: np.ndarray) -> np.ndarray:
    """(E,) codes of the test epochs, by a probe fitted on the training recordings' epochs of known stage."""
    x, y = np.concatenate(list(train)), np.concatenate(list(stages))
    return probe(x[y != UNKNOWN_STAGE], y[y != UNKNOWN_STAGE]).predict(test)


def probe_blocks(features: np.ndarray, stages: np.ndarray, blocks: int = 5) -> np.ndarray:
    """(E,) codes of one night: each contiguous block by a probe fitted on the other blocks."""
    predicted = np.empty_like(stages)
    for block in np.array_split(np.arange(len(stages)), blocks):
        rest = np.setdiff1d(np.arange(len(stages)), block)
        predicted[block] = probe_stages([features[rest]], [stages[rest]], features[block])
    return predicted


def has_yasa() -> bool:
    return importlib.util.find_spec("yasa") is not None


def yasa_spindles(recording: EegNight) -> list[Event]:
    """What `yasa.spindles_detect` finds with its defaults, without a hypnogram, in the prepared channel of 128 Hz."""
    import yasa

    found = yasa.spindles_detect(recording.eeg.astype(np.float64), EEG_HZ, verbose=False)
    if found is None:
        return []
    table = found.summary()
    return [
        Event(EventKind.SPINDLE, float(start), float(length), source="yasa")
        for start, length in zip(table["Start"], table["Duration"], strict=True)
    ]


def yasa_stage_probs(recording: EegNight, uv_per_unit: float = 1.0) -> np.ndarray:
    """(E, 5) probabilities over `STAGES` by `yasa.SleepStaging` (0.7 or later) from the prepared channel alone."""
    import yasa

    info = mne.create_info(["EEG"], EEG_HZ, "eeg")
    volts = recording.eeg[None].astype(np.float64) * uv_per_unit * 1e-6
    hypnogram = yasa.SleepStaging(mne.io.RawArray(volts, info, verbose=False), "EEG").predict()
    columns = ["WAKE" if stage == "W" else stage for stage in STAGES]
    return hypnogram.proba[columns].to_numpy(np.float32)[: recording.night.n_epochs]


def yasa_stages(recording: EegNight, uv_per_unit: float = 1.0) -> np.ndarray:
    """(E,) codes, the likeliest stages of `yasa_stage_probs`."""
    return yasa_stage_probs(recording, uv_per_unit).argmax(1).astype(np.int8)


def stage_agreement(references: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> dict[str, Any]:
    """`staging_metrics`, except that macro-F1 is over the stages that the references have."""
    metrics = staging_metrics(references, predicted)
    present = np.unique(np.concatenate(list(references)))
    metrics["macro_f1"] = float(np.mean([x for i, x in enumerate(metrics["f1_per_stage"].values()) if i in present]))
    return metrics
