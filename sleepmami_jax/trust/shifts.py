"""What goes wrong with recordings, done to a night on purpose: to learn from, and to be tested with.

Each shift takes a night and gives one in which something is not as it should be, while its labels and what preparation
said of its quality stay: nothing but the signals can tell. They are done to prepared channels, so what preparation
takes away (mains, a flat lead) is put back behind it. Where time itself is moved the scoring moves with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, Channel, Night, Scoring

EEG, EOG, EMG, ECG, RESP, SPO2 = (Modality[name] for name in ("EEG", "EOG", "EMG", "ECG", "RESP", "SPO2"))
CORNER_SD = 1.349  # interquartile range over standard deviation of normal samples


@dataclass(frozen=True)
class Shift:
    """One thing that goes wrong.

    Attributes:
      name: what, in words.
      needs: the modalities without which it cannot happen.
      apply: (night, random numbers) -> the night in which it did.
      matters: whether a model sees it; gain is normalised away.
    """

    name: str
    needs: tuple[Modality, ...]
    apply: Callable[[Night, np.random.Generator], Night]
    matters: bool = True

    def fits(self, night: Night) -> bool:
        return set(self.needs) <= {channel.modality for channel in night.channels}


Change = Callable[[Channel, np.random.Generator], np.ndarray]


def _each(modality: Modality, change: Change) -> Callable[[Night, np.random.Generator], Night]:
    """Does `change` to the samples of all channels of a kind."""

    def apply(night: Night, rng: np.random.Generator) -> Night:
        return _with(night, {c.slot: change(c, rng) for c in night.channels if c.modality is modality})

    return apply


def _with(night: Night, samples: Mapping[str, np.ndarray]) -> Night:
    channels = (
        replace(c, samples=np.asarray(samples[c.slot], np.float32)) if c.slot in samples else c for c in night.channels
    )
    return replace(night, channels=tuple(channels))


def _spread(x: np.ndarray) -> float:
    return float(np.subtract(*np.percentile(x[:: max(len(x) // 100_000, 1)], (75, 25))) / CORNER_SD) or 1.0


def _white(c: Channel, rng: np.random.Generator, times: float) -> np.ndarray:
    return c.samples + times * _spread(c.samples) * rng.standard_normal(len(c.samples), np.float32)


def _only_noise(c: Channel, rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Noise whose power falls as 1 / f ** exponent, instead of the signal."""
    spectrum = np.fft.rfft(rng.standard_normal(len(c.samples), np.float32))
    f = np.fft.rfftfreq(len(c.samples), 1 / c.rate_hz)
    spectrum *= np.maximum(f, 0.3) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, len(c.samples))
    return noise * (_spread(c.samples) / noise.std())


def _mains(c: Channel, rng: np.random.Generator, times: float, line_hz: float) -> np.ndarray:
    phase = 2 * np.pi * line_hz * np.arange(len(c.samples)) / c.rate_hz
    return c.samples + times * _spread(c.samples) * np.sin(phase + rng.uniform(0, 6)).astype(np.float32)


def _band(c: Channel, rng: np.random.Generator, low_hz: float | None, high_hz: float | None) -> np.ndarray:
    edges = [hz for hz in (low_hz, high_hz) if hz is not None]
    kind = "bandpass" if len(edges) == 2 else "highpass" if low_hz else "lowpass"
    return sosfiltfilt(butter(4, edges if len(edges) == 2 else edges[0], kind, fs=c.rate_hz, output="sos"), c.samples)


def _drift(c: Channel, rng: np.random.Generator, times: float) -> np.ndarray:
    slow = rng.standard_normal(len(c.samples) // (2 * c.rate_hz) + 2).astype(np.float32)
    smooth = np.interp(np.arange(len(c.samples)) / (2 * c.rate_hz), np.arange(len(slow)), slow)
    return c.samples + times * _spread(c.samples) * smooth


def _clip(c: Channel, rng: np.random.Generator, at: float) -> np.ndarray:
    limit = at * _spread(c.samples)
    return np.clip(c.samples, -limit, limit)


def _coarse(c: Channel, rng: np.random.Generator, step: float) -> np.ndarray:
    size = step * _spread(c.samples)
    return np.round(c.samples / size) * size


def _half_still(c: Channel, rng: np.random.Generator) -> np.ndarray:
    """Nothing but an amplifier's own noise in the second half."""
    samples = c.samples.copy()
    half = len(samples) // 2
    samples[half:] = 0.02 * _spread(samples) * rng.standard_normal(len(samples) - half, np.float32)
    return samples


def _stuck(c: Channel, rng: np.random.Generator, value: float, share: float) -> np.ndarray:
    samples = c.samples.copy()
    samples[int((1 - share) * len(samples)) :] = value
    return samples


def _pulse_rate(c: Channel, rng: np.random.Generator) -> np.ndarray:
    """A pulse rate in the oximeter's channel: within what a saturation may be, and always moving."""
    slow = np.cumsum(rng.standard_normal(len(c.samples)))
    slow = slow - np.linspace(slow[0], slow[-1], len(slow))
    return np.round(np.clip(66 + 5 * slow / max(slow.std(), 1e-6) + rng.normal(0, 2, len(slow)), 45, 100))


def _restless(c: Channel, rng: np.random.Generator) -> np.ndarray:
    """An oximeter on a restless hand: falls that no breath explains, one in a minute and a half."""
    samples = c.samples.copy()
    for start in rng.integers(0, max(len(samples) - 40, 1), len(samples) // 90):
        samples[start : start + 25] -= rng.uniform(4, 9) * np.hanning(25)[: len(samples[start : start + 25])]
    return np.clip(samples, 50, 100)


def _late(c: Channel, rng: np.random.Generator, seconds: int) -> np.ndarray:
    return np.roll(c.samples, seconds * c.rate_hz)


def _exchanged(first: str, second: str) -> Callable[[Night, np.random.Generator], Night]:
    """Each of two kinds has the first signal of the other."""

    def apply(night: Night, rng: np.random.Generator) -> Night:
        one, other = ([c for c in night.channels if c.modality is Modality[kind]] for kind in (first, second))
        into = {c.slot: _at_rate(other[0], c) for c in one} | {c.slot: _at_rate(one[0], c) for c in other}
        return _with(night, into)

    return apply


def _instead(kind: str, source: str) -> Callable[[Night, np.random.Generator], Night]:
    def apply(night: Night, rng: np.random.Generator) -> Night:
        sensor = next(c for c in night.channels if c.modality is Modality[source])
        return _with(night, {c.slot: _at_rate(sensor, c) for c in night.channels if c.modality is Modality[kind]})

    return apply


def _at_rate(source: Channel, into: Channel) -> np.ndarray:
    x = source.samples
    if source.rate_hz != into.rate_hz:
        x = resample_poly(x, into.rate_hz, source.rate_hz)[: len(into.samples)]
    return x * np.float32(_spread(into.samples) / _spread(x))


def _faster(night: Night, rng: np.random.Generator, up: int, down: int) -> Night:
    """All signals at `up / down` of their speed, as a wrong sampling rate makes them, repeated to the night's end."""
    samples = {}
    for c in night.channels:
        x = c.samples if up == down else resample_poly(c.samples, down, up).astype(np.float32)
        samples[c.slot] = np.resize(x, len(c.samples))
    period = max(min(night.n_epochs, night.n_epochs * down // up), 1)
    places = (np.arange(night.n_epochs) % period * up / down).astype(int)
    return _with(_restaged(night, places), samples)


def _in_order(night: Night, places: np.ndarray) -> Night:
    """The epochs at `places`, one after the other, instead of the night's own; the tail stays."""
    samples = {}
    for c in night.channels:
        size = EPOCH_S * c.rate_hz
        whole = c.samples[: night.n_epochs * size].reshape(night.n_epochs, size)[places].reshape(-1)
        samples[c.slot] = np.concatenate([whole, c.samples[len(whole) :]])
    return _with(_restaged(night, places), samples)


def _restaged(night: Night, places: np.ndarray) -> Night:
    """The scoring of the epochs at `places`; events, which time has torn apart, are not scored any more."""
    if night.scoring is None:
        return night
    return replace(night, scoring=Scoring(night.scoring.stages[places], (), night.scoring.scored & {"stages"}))


def _looped(night: Night, rng: np.random.Generator, epochs: int) -> Night:
    """The first minutes again and again."""
    return _in_order(night, np.arange(night.n_epochs) % epochs)


def _shuffled(night: Night, rng: np.random.Generator, epochs: int) -> Night:
    """Pieces in another order, as of files joined at random or of an animal that sleeps in bouts."""
    places = np.arange(night.n_epochs)
    n = night.n_epochs // epochs
    places[: n * epochs] = places[: n * epochs].reshape(n, epochs)[rng.permutation(n)].reshape(-1)
    return _in_order(night, places)


def _animal(night: Night, rng: np.random.Generator) -> Night:
    """Bouts of three minutes, and rhythms at 1.6 times a person's: a rodent's night."""
    return _shuffled(_faster(night, rng, 8, 5), rng, 6)


def _turned(slots: tuple[str, ...]) -> Callable[[Night, np.random.Generator], Night]:
    def apply(night: Night, rng: np.random.Generator) -> Night:
        return _with(night, {c.slot: -c.samples for c in night.channels if c.slot in slots})

    return apply


def _scaled(factor: float) -> Change:
    return lambda c, rng: c.samples * np.float32(factor)


def _shifts() -> list[Shift]:
    each, do = _each, partial
    return [
        *(Shift(f"EEG {f:g} times", (EEG,), each(EEG, _scaled(f)), False) for f in (1e-3, 0.1, 40, 1e3)),
        Shift("EEG upside down", (EEG,), each(EEG, _scaled(-1))),
        Shift("one eye upside down", (EOG,), _turned(("E2",))),
        Shift("ECG upside down", (ECG,), _turned(("ECG",))),
        Shift("flow upside down", (RESP,), _turned(("THERMISTOR", "NASAL_PRESSURE"))),
        Shift("EEG and EMG exchanged", (EEG, EMG), _exchanged("EEG", "EMG")),
        Shift("EEG and ECG exchanged", (EEG, ECG), _exchanged("EEG", "ECG")),
        Shift("EOG and EMG exchanged", (EOG, EMG), _exchanged("EOG", "EMG")),
        Shift("EEG and breathing exchanged", (EEG, RESP), _exchanged("EEG", "RESP")),
        Shift("EMG and ECG exchanged", (EMG, ECG), _exchanged("EMG", "ECG")),
        Shift("an EMG as EEG", (EEG, EMG), _instead("EEG", "EMG")),
        Shift("an ECG as EEG", (EEG, ECG), _instead("EEG", "ECG")),
        Shift("a belt as EEG", (EEG, RESP), _instead("EEG", "RESP")),
        Shift("an ECG as breathing", (RESP, ECG), _instead("RESP", "ECG")),
        Shift("an EEG as breathing", (RESP, EEG), _instead("RESP", "EEG")),
        *(
            Shift(f"EEG with noise of {t:g} times its spread", (EEG,), each(EEG, do(_white, times=t)))
            for t in (0.3, 1, 3)
        ),
        *(Shift(f"noise 1/f^{e:g} as EEG", (EEG,), each(EEG, do(_only_noise, exponent=e))) for e in (0, 1, 2)),
        *(
            Shift(f"mains of {t:g} times the EEG at {hz} Hz", (EEG,), each(EEG, do(_mains, times=t, line_hz=hz)))
            for t, hz in ((1, 50), (5, 50), (5, 60))
        ),
        *(
            Shift(f"EEG below {hz:g} Hz only", (EEG,), each(EEG, do(_band, low_hz=None, high_hz=hz)))
            for hz in (5, 8, 15)
        ),
        *(
            Shift(f"EEG above {hz:g} Hz only", (EEG,), each(EEG, do(_band, low_hz=hz, high_hz=None)))
            for hz in (2, 5, 12)
        ),
        *(Shift(f"EEG drifts by {t:g} times its spread", (EEG,), each(EEG, do(_drift, times=t))) for t in (2, 10)),
        *(Shift(f"EEG cut at {a:g} of its spread", (EEG,), each(EEG, do(_clip, at=a))) for a in (0.2, 1)),
        *(Shift(f"EEG in steps of {s:g} times its spread", (EEG,), each(EEG, do(_coarse, step=s))) for s in (0.5, 3)),
        Shift("EEG still in the second half", (EEG,), each(EEG, _half_still)),
        Shift("breathing still in the second half", (RESP,), each(RESP, _half_still)),
        *(
            Shift(f"breathing with noise of {t:g} times its spread", (RESP,), each(RESP, do(_white, times=t)))
            for t in (1, 5)
        ),
        *(Shift(f"noise 1/f^{e:g} as breathing", (RESP,), each(RESP, do(_only_noise, exponent=e))) for e in (0, 2)),
        Shift("breathing cut at a fifth of its spread", (RESP,), each(RESP, do(_clip, at=0.2))),
        Shift("breathing drifts by 10 times its spread", (RESP,), each(RESP, do(_drift, times=10))),
        Shift("mains of 5 times the breathing", (RESP,), each(RESP, do(_mains, times=5, line_hz=10))),
        Shift("SpO2 stuck at 97", (SPO2,), each(SPO2, do(_stuck, value=97, share=1))),
        Shift("SpO2 stuck for the second half", (SPO2,), each(SPO2, do(_stuck, value=96, share=0.5))),
        Shift("a pulse rate as SpO2", (SPO2,), each(SPO2, _pulse_rate)),
        Shift("SpO2 of a restless hand", (SPO2,), each(SPO2, _restless)),
        *(Shift(f"SpO2 {s} s late", (SPO2,), each(SPO2, do(_late, seconds=s))) for s in (600,)),
        *(
            Shift(f"signals at {up / down:.3g} times their speed", (EEG,), do(_faster, up=up, down=down))
            for up, down in ((1, 2), (4, 5), (5, 4), (2, 1))
        ),
        *(Shift(f"the first {n / 2:g} min again and again", (EEG,), do(_looped, epochs=n)) for n in (4, 20)),
        *(Shift(f"pieces of {n / 2:g} min in another order", (EEG,), do(_shuffled, epochs=n)) for n in (1, 10)),
        Shift("an animal's night", (EEG,), _animal),
    ]


def _alone(night: Night, rng: np.random.Generator) -> Night:
    return replace(night, channels=tuple(c for c in night.channels if c.modality is EEG)[-1:])


SHIFTS = tuple(_shifts())
"""All of them."""
ALONE = Shift("a single EEG", (EEG,), _alone)
"""No fault: all that many recordings have."""
