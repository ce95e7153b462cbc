"""From samples as recorded to what SleepMaMi reads, and from probabilities to events; NumPy alone.

The rules stand in `config.json` under `preprocessing`; this file applies them. Of each channel: gaps are bridged, mains
hum is looked for, one zero-phase filter resamples and takes away drift (values such as SpO2 are held instead), seconds
that cannot be trusted are found, and what is left is scaled by the median and spread of the night's good seconds.

On simulated nights the scaled samples are those of `sleepmami score` to 3e-5, and the good seconds the same, with one
exception: rails and lost samples of a channel given against its reference are looked for in the difference, and not in
each electrode. There 0.2 % of the seconds of a night were judged otherwise, and samples differed by 0.4 %. Units are
believed: nothing mends millivolts that are said to be microvolts.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

EPOCH_S = 30
TOLERANCE_S = 1e-6
BLOCKS = 16  # of a channel that are transformed at once: memory for all of them is slow to come by


# ------------------------------------------------------------------------------------------------- filterbank


def filterbank(look: dict, rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int], int]:
    """The fixed filters by which a token's log power is measured.

    Args:
      look: `window_s`, `hop` in samples, `bands_hz` (first and last frequency of each), `most_bins` of a band.

    Returns:
      Cosines and sines (window, 2 bins) under a Hann window of unit energy; mean over bands (bins, bands); the share of
      each window's energy that lies in each second (30, looks); samples before and after an epoch that windows reach
      over; samples from one window to the next. Arrays are float32.
    """
    window, hop = round(look["window_s"] * rate_hz), look["hop"]
    bins_hz = np.arange(window // 2 + 1) / look["window_s"]
    inside = np.zeros((len(bins_hz), len(look["bands_hz"])), bool)
    for i, (low, high) in enumerate(look["bands_hz"]):
        bins = np.flatnonzero((bins_hz >= low) & (bins_hz <= high))
        inside[bins[np.linspace(0, len(bins) - 1, min(len(bins), look["most_bins"])).astype(int)], i] = True
    if not inside.any(0).all():
        raise ValueError(f"bands_hz {look['bands_hz']}: one has no frequency of a window of {look['window_s']} s")
    kept = inside.any(1)
    taper = np.hanning(window + 2)[1:-1]
    taper /= np.sqrt((taper**2).sum())
    angle = 2 * np.pi * np.arange(window)[:, None] / window * np.flatnonzero(kept)
    wave = taper[:, None] * np.concatenate([np.cos(angle), np.sin(angle)], 1)
    wave -= wave.mean(0) * taper[:, None] / taper.mean()  # blind to a constant
    energy_of_bin = (wave**2).sum(0).reshape(2, -1).sum(0)
    if not (energy_of_bin > 0).all():
        raise ValueError(f"bands_hz {look['bands_hz']}: one begins at 0 Hz, to which a window is blind")
    wave /= np.tile(np.sqrt(energy_of_bin), 2)  # white noise has power 1 in every bin
    beyond = window - hop
    margins = beyond // 2, beyond - beyond // 2
    second = np.pad(np.arange(EPOCH_S).repeat(rate_hz), margins, mode="reflect")
    reached = np.lib.stride_tricks.sliding_window_view(second, window)[::hop]
    energy = (reached == np.arange(EPOCH_S)[:, None, None]) @ taper**2
    band = inside[kept] / inside[kept].sum(0)
    return wave.astype(np.float32), band.astype(np.float32), energy.astype(np.float32), margins, hop


# --------------------------------------------------------------------------------------------- preparing a night


def prepare_night(
    channels: dict[str, tuple[np.ndarray, float]], rules: dict, mains_hz: float | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, np.ndarray]]:
    """Arrays as recorded -> what the Micro-Encoder reads.

    Args:
      channels: see `SleepMaMi.score_arrays`.
      rules: `preprocessing` of `config.json`.

    Returns:
      {modality: (signal (E, C, 30 rate) float32, 0 where unusable, usable (E, C, 30) bool)}, and of each channel that
      was given its usable seconds {slot: (seconds,) bool}, before those with too few are left out.

    Raises:
      ValueError: see `SleepMaMi.score_arrays`.
    """
    placed = {_slot(name, rules): (name, *_checked(name, *given)) for name, given in channels.items()}
    if len(placed) < len(channels):
        raise ValueError(f"channels {sorted(channels)}: two of them are the same channel of the model; give one")
    if not placed:
        raise ValueError("channels: none was given; expected {name: (samples, rate_hz)}")
    lengths = {name: int(len(x) / rate) for name, x, rate, _ in placed.values()}
    n_seconds = min(lengths.values())
    n_epochs = n_seconds // EPOCH_S
    if not n_epochs:
        raise ValueError(f"channels {lengths}: seconds of each; expected at least {EPOCH_S}, one epoch, of all")
    whole_s = n_epochs * EPOCH_S
    arrays, usable = {}, {}
    for modality, facts in rules["modalities"].items():
        rate_hz, slots = facts["rate_hz"], facts["slots"]
        signal = np.zeros((n_epochs, len(slots), EPOCH_S * rate_hz), np.float32)
        there = np.zeros((n_epochs, len(slots), EPOCH_S), bool)
        for place, slot in enumerate(slots):
            if slot not in placed:
                continue
            _, x, rate, reach = placed[slot]
            samples, good = prepare_channel(x, rate, reach, facts, n_seconds, rules, mains_hz)
            usable[slot] = good[:whole_s]
            scaled = _scaled(samples, good, facts, rules)
            if scaled is not None and good[:whole_s].mean() >= rules["min_good_share"]:
                signal[:, place] = scaled[: whole_s * rate_hz].reshape(n_epochs, -1)
                there[:, place] = good[:whole_s].reshape(n_epochs, -1)
        arrays[modality] = signal, there
    return arrays, usable


def _slot(name: str, rules: dict) -> str:
    """ "C4-M1" -> "C4". Raises ValueError for what the model does not know."""
    known = [slot for facts in rules["modalities"].values() for slot in facts["slots"]]
    for asked in (name, name.split("-")[0].strip()):
        if asked in known:
            return asked
    raise ValueError(f"channel {name!r}: the model does not know it; expected one of {', '.join(known)}")


def _checked(
    name: str, samples: np.ndarray, rate_hz: float, reach: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[np.ndarray, Fraction, tuple[float, float]]:
    x = np.asarray(samples)
    if x.ndim != 1 or x.dtype.kind not in "fiu":
        raise ValueError(f"channel {name!r}: {x.dtype} of shape {x.shape}; expected numbers of shape (n,)")
    if not rate_hz > 0 or not np.isfinite(float(rate_hz)):
        raise ValueError(f"channel {name!r}: rate {rate_hz} Hz; expected a positive number")
    return x.astype(np.float32), Fraction(rate_hz).limit_denominator(1_000_000), (min(reach), max(reach))


def prepare_channel(
    x: np.ndarray,
    rate: Fraction,
    reach: tuple[float, float],
    facts: dict,
    n_seconds: int,
    rules: dict,
    mains_hz: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One channel at the modality's rate and in its band, and its good seconds.

    Args:
      x: (n,) float32 in the modality's unit, NaN in gaps, at `rate` Hz.
      reach: smallest and largest value that the recorder can say; infinite where that is not known.
      facts: of the modality, from `rules["modalities"]`.

    Returns:
      (n_seconds * rate_hz,) float32 and (n_seconds,) bool.
    """
    bad = _raw_flags(x, rate, reach, facts, n_seconds, rules)
    flagged = np.any(list(bad.values()), axis=0)
    x = _bridged(x)
    rate_hz = facts["rate_hz"]
    if facts["high_pass_hz"] is None:
        at = np.floor((np.arange(n_seconds * rate_hz) + 0.5) / rate_hz * float(rate)).astype(np.int64)
        samples = x[np.clip(at, 0, len(x) - 1)]
    else:
        lines = find_mains(x, rate, ~flagged, facts, rules) if mains_hz is None else (mains_hz,)
        samples = condition(x, rate, facts, n_seconds, lines, rules)
        gap = bad["GAP"]
        samples.reshape(n_seconds, -1)[gap] = 0
    flagged |= _range_flags(samples, ~flagged, facts)
    if facts["voltage"] is not None:
        flagged |= _hum_flags(x, rate, facts, n_seconds, rules)
        flagged |= _open_lead(samples, ~flagged, facts, rules)
    return samples, ~flagged


def _scaled(samples: np.ndarray, good: np.ndarray, facts: dict, rules: dict) -> np.ndarray | None:
    """Samples as the model reads them, 0 in bad seconds; None where the good ones do not move."""
    if facts["normalised_by"] is not None:
        centre, spread = facts["normalised_by"]
    else:
        step = max(1, len(samples) // rules["percentile_samples"])
        places = np.arange(0, len(samples), step)
        sample = samples[places[good[places // facts["rate_hz"]]]]
        if not sample.size:
            return None
        q25, centre, q75 = np.percentile(sample, (25, 50, 75))
        if not q75 > q25:
            return None
        spread = (q75 - q25) / rules["iqr_of_normal"]
    gain, shift = np.float32(1 / spread), np.float32(-centre / spread)
    scaled = np.clip(samples * gain + shift, -facts["clip"], facts["clip"]).astype(np.float32)
    scaled.reshape(len(good), -1)[~good] = 0
    return scaled


# ---------------------------------------------------------------------------------------------- which seconds


def runs(mask: np.ndarray) -> np.ndarray:
    """(runs, 2) half-open ranges of the runs of True in (n,) bool."""
    if not mask.any():
        return np.empty((0, 2), np.intp)
    changes = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    edges = [0] * int(mask[0]), changes, [len(mask)] * int(mask[-1])
    return np.concatenate(edges).astype(np.intp).reshape(-1, 2)


def _in_seconds(ufunc: np.ufunc, x: np.ndarray, rate: Fraction, n_seconds: int) -> np.ndarray:
    """(n_seconds,) each second of x reduced to one value; below 1 Hz neighbouring seconds share a sample."""
    if rate.denominator == 1 and len(x) >= n_seconds * rate:
        return ufunc.reduce(x[: n_seconds * int(rate)].reshape(n_seconds, -1), axis=1)
    starts = np.minimum((np.arange(n_seconds) * float(rate)).astype(np.int64), len(x) - 1)
    return ufunc.reduceat(x[: max(int(n_seconds * rate), starts[-1] + 1)], starts)


def _raw_flags(
    x: np.ndarray, rate: Fraction, reach: tuple[float, float], facts: dict, n_seconds: int, rules: dict
) -> dict[str, np.ndarray]:
    """What the samples as recorded say against each second: gaps, flat stretches, a rail, repeated samples."""
    bad = {"GAP": np.isnan(_in_seconds(np.minimum, x, rate, n_seconds))}
    bad["FLAT"] = np.zeros(n_seconds, bool)
    if facts["flat_s"] is not None:
        lowest, highest = (_in_seconds(ufunc, x, rate, n_seconds) for ufunc in (np.fmin, np.fmax))
        for start, stop in runs(lowest == highest):
            bad["FLAT"][start:stop] |= stop - start >= facts["flat_s"]
    if facts["high_pass_hz"] is None or np.isnan(x).all():
        return bad
    contact, hz = rules["contact"], float(rate)
    if np.isfinite(reach).all():
        margin = 1e-6 * (reach[1] - reach[0])
        at_limit = (x <= reach[0] + margin) | (x >= reach[1] - margin)
        bad["AT_LIMIT"] = _in_seconds(np.add, at_limit.astype(np.int32), rate, n_seconds) >= max(3, 0.01 * hz)
    dropped = max(10, int(contact["dropped_s"] * hz))
    pieces = [x[round(start * rate) : round(stop * rate)] for start, stop in _survey(n_seconds, rules)]
    pieces = [piece for piece in pieces if not np.isnan(piece).all()]
    if not pieces:
        return bad
    low, high, still = min(map(np.nanmin, pieces)), max(map(np.nanmax, pieces)), 0
    for piece in pieces:
        starts, stops = runs(piece[1:] == piece[:-1]).T
        itself = (stops - starts < dropped - 1) & (piece[starts] > low) & (piece[starts] < high)
        still += (stops - starts)[itself].sum()
    if still > contact["still_share"] * sum(map(len, pieces)):
        return bad  # a coarse converter repeats values by itself
    starts, stops = runs(x[1:] == x[:-1]).T
    lengths = stops - starts
    brief = lengths <= contact["still_max_s"] * hz
    rail = brief & ((x[starts] <= low) | (x[starts] >= high))
    rail &= lengths + 1 >= max(contact["rail_samples"], int(0.02 * hz))
    at_rail = np.zeros(n_seconds + 1)
    for start, stop in zip(starts[rail], stops[rail] + 1, strict=True):
        np.add.at(at_rail, np.minimum((np.arange(start, stop) / hz).astype(np.int64), n_seconds), 1)
    bad["CLIPPED"] = at_rail[:n_seconds] >= max(1.0, facts["cut_share"] * hz)
    if facts["voltage"] is not None:
        bad["DROPPED"] = np.zeros(n_seconds, bool)
        long = brief & (lengths >= dropped - 1)
        for start, stop in zip(starts[long], stops[long], strict=True):
            bad["DROPPED"][int(start / hz) : int(stop / hz) + 1] = True
    return bad


def _range_flags(samples: np.ndarray, good: np.ndarray, facts: dict) -> np.ndarray:
    """Seconds with values that no body makes."""
    seconds = samples.reshape(len(good), -1)
    if facts["high_pass_hz"] is None:
        low, high = facts["limits"] or (-np.inf, np.inf)
        return ((seconds < low) | (seconds > high)).any(1)
    largest = None
    if facts["voltage"] is not None:
        largest = facts["voltage"]["largest_uv"]
    elif facts["largest_typical"] is not None:
        typical = np.abs(seconds[good].ravel())
        typical = typical[:: max(1, len(typical) // 200_000)]
        typical = typical[typical > 0]
        largest = facts["largest_typical"] * 1.4826 * float(np.median(typical)) if typical.size else None
    return np.abs(seconds).max(1) > (largest or np.inf)


def _hum_flags(x: np.ndarray, rate: Fraction, facts: dict, n_seconds: int, rules: dict) -> np.ndarray:
    """Seconds that the mains swamp."""
    flags, hz, width = np.zeros(n_seconds, bool), float(rate), int(rate)
    starts = np.round(np.arange(n_seconds) * hz).astype(np.int64)
    starts = np.minimum(starts, max(0, len(x) - width))
    for line in rules["mains_hz"]:
        if 2.1 * line > hz or len(x) < width:
            continue
        window, basis = _line_basis(width, hz, line, rules["contact"]["harmonics"])
        for first in range(0, n_seconds, 120):
            seconds = np.lib.stride_tricks.sliding_window_view(x, width)[starts[first : first + 120]]
            seconds = (seconds - seconds.mean(1, keepdims=True)) * window
            total, hum = np.square(seconds).sum(1), np.square(seconds @ basis).sum(1)
            swamped = hum > rules["contact"]["hum_ratio"] ** 2 * np.maximum(total - hum, 1e-9 * total)
            peak_uv = np.sqrt(2 * hum / np.square(window).sum())
            flags[first : first + 120] |= swamped & (peak_uv > facts["voltage"]["hum_uv"])
    return flags


def _line_basis(width: int, hz: float, line_hz: float, harmonics: int) -> tuple[np.ndarray, np.ndarray]:
    """A Hann window, and an orthonormal basis of a hum that may grow or drift within the second, seen through it."""
    t = np.arange(width) / hz
    window = np.hanning(width + 1)[:-1].astype(np.float32)
    lines = [k * line_hz for k in range(1, harmonics + 1) if 2.1 * k * line_hz <= hz]
    changes = 1, t - t.mean()
    waves = [w(2 * np.pi * f * t) * window * change for f in lines for w in (np.cos, np.sin) for change in changes]
    return window, np.linalg.qr(np.stack(waves, axis=1))[0].astype(np.float32)


def _open_lead(samples: np.ndarray, good: np.ndarray, facts: dict, rules: dict) -> np.ndarray:
    """Long stretches in which an electrode of the head gives white noise: it is off."""
    marks, contact = np.zeros(len(good), bool), rules["contact"]
    if not facts["on_head"]:
        return marks
    seconds, length = samples.reshape(len(good), -1), contact["white_s"]
    window = np.hanning(facts["rate_hz"]).astype(np.float32)
    for block, stop in _blocks(len(good), rules["block_s"]):
        last = stop - length
        starts = {*range(block, last + 1, length), *([last] if last >= block else [])}
        for start in sorted(starts):
            stretch = slice(start, start + length)
            kept = seconds[stretch][good[stretch]]
            if len(kept) < length // 2:
                continue
            spectrum = np.abs(np.fft.rfft(kept[::3] * window, axis=1))
            low, high = (np.median(spectrum[:, slice(*band)]) ** 2 for band in contact["white_bands"])
            least, most = contact["white_ratio"]
            marks[stretch] |= least * high < low < most * high
    return marks


def _survey(n_seconds: int, rules: dict) -> list[tuple[int, int]]:
    """(start, stop) of evenly spaced minutes of a night, all of it when it is short."""
    pieces, piece_s = rules["survey_pieces"], rules["survey_piece_s"]
    if n_seconds <= pieces * piece_s:
        return _blocks(n_seconds, rules["block_s"])
    last = (n_seconds - piece_s) // EPOCH_S
    starts = [last * k // (pieces - 1) * EPOCH_S for k in range(pieces)]
    return [(start, start + piece_s) for start in starts]


def _blocks(n_seconds: int, block_s: int) -> list[tuple[int, int]]:
    starts = range(0, max(n_seconds - block_s // 2, 0) + 1, block_s)
    return [(s, n_seconds if s == starts[-1] else s + block_s) for s in starts]


# ---------------------------------------------------------------------------------------------------- filters


def _bridged(x: np.ndarray) -> np.ndarray:
    """NaN bridged by straight lines."""
    missing = np.isnan(x)
    if not missing.any():
        return x
    if missing.all():
        return np.zeros_like(x)
    filled, known = x.copy(), np.flatnonzero(~missing)
    filled[missing] = np.interp(np.flatnonzero(missing), known, x[known])
    return filled


def find_mains(x: np.ndarray, rate: Fraction, good: np.ndarray, facts: dict, rules: dict) -> tuple[float, ...]:
    """Mains frequencies in the channel's band at which it has a line most of the time, by minutes of the night."""
    hz, look_s = float(rate), rules["survey_piece_s"]
    spans = _survey(len(good), rules)
    spans = [span for span in spans if good[slice(*span)].any()] or spans
    pieces = [x[round(s * rate) :][: round(min(stop - s, look_s) * rate)] for s, stop in spans]
    n = min(max(map(len, pieces)), int(4 * rate))
    longest = [p for p in pieces if len(p) == max(map(len, pieces))]
    frames = [np.lib.stride_tricks.sliding_window_view(p, n)[:: max(1, n // 2)] for p in longest]
    window = np.hanning(n + 1)[:n].astype(np.float32)
    powers = [(np.abs(np.fft.rfft((f - f.mean(1, keepdims=True)) * window)) ** 2).mean(0) for f in frames]
    power, freqs = np.median(powers, 0), np.arange(n // 2 + 1) * hz / n
    lines = []
    for line in rules["mains_hz"]:
        near = np.abs(freqs - line)
        around, at = power[(near > 1.5) & (near < 6)], power[near <= 0.5]
        inside = line < 0.95 * min(facts["rate_hz"], hz) / 2
        if at.size and around.size and inside and at.max() > rules["mains_ratio"] * np.median(around):
            lines.append(line)
    return tuple(lines)


def condition(
    x: np.ndarray, rate: Fraction, facts: dict, n_seconds: int, lines: tuple[float, ...], rules: dict
) -> np.ndarray:
    """(n_seconds * rate_hz,) float32: x (n,) through one zero-phase filter that resamples, by overlap-save.

    Its magnitude is a product of a high-pass `1 / (1 + (corner / f)**4)`, a low-pass just below the lower Nyquist
    frequency, and a notch at each of `lines`; its impulse response ends at `margin_s`, where it has faded.
    """
    hz, target_hz, margin_s = float(rate), facts["rate_hz"], facts["margin_s"]
    lengths = range(8 * margin_s, 32 * margin_s)
    block_s = min(lengths, key=lambda s: (abs(s * rate - round(s * rate)), s))
    n_in, hop_s = round(block_s * rate), block_s - 2 * margin_s
    slack = float(block_s * rate - n_in)
    response = _response(n_in, block_s, rate, facts, lines, rules)
    before = round(margin_s * hz)
    last = round((n_seconds + margin_s) * hz)
    x = x[:last]
    x = np.pad(x, (before, max(0, last - len(x))), mode="symmetric")
    n_blocks, parts = -(-n_seconds // hop_s), []
    for first in range(0, n_blocks, BLOCKS):
        blocks, late_s = np.zeros((min(BLOCKS, n_blocks - first), n_in), np.float32), []
        for i, block in enumerate(blocks, first):
            exact = (i * hop_s - margin_s) * hz + slack / 2
            start = round(exact)
            late_s.append((start - exact) / hz)
            low, high = max(start, -before), min(start + n_in, len(x) - before)
            block[low - start : high - start] = x[low + before : high + before]
        spectrum = np.fft.rfft(blocks, axis=1)[:, : len(response)] * response
        if any(late_s):
            freqs = np.arange(len(response)) / block_s
            spectrum *= np.exp(-2j * np.pi * np.outer(late_s, freqs)).astype(np.complex64)
        y = np.fft.irfft(spectrum, block_s * target_hz, axis=1)
        parts.append(y[:, margin_s * target_hz :][:, : hop_s * target_hz].reshape(-1))
    return np.concatenate(parts)[: n_seconds * target_hz].astype(np.float32)


def _response(
    n_in: int, block_s: int, rate: Fraction, facts: dict, lines: tuple[float, ...], rules: dict
) -> np.ndarray:
    """(bins,) float32: the filter's response from 0 Hz in steps of 1 / block_s, with the gain of the resampling."""
    margin_s, n_out = facts["margin_s"], block_s * facts["rate_hz"]
    freqs = np.arange(n_in + 1) / (2 * block_s)
    band = min(float(rate), facts["rate_hz"])
    squared = (freqs / facts["high_pass_hz"]) ** 4
    magnitude = squared / (1 + squared) / (1 + np.exp(np.minimum((freqs - 0.475 * band) / (0.00275 * band), 80)))
    for line in lines:
        off = (freqs**2 - line**2) ** 2
        magnitude *= off / (off + (freqs * line / rules["notch_q"]) ** 2)
    taps = np.fft.irfft(magnitude, 2 * n_in)
    time_s = np.minimum(np.arange(2 * n_in), 2 * n_in - np.arange(2 * n_in)) * block_s / n_in
    window = np.cos(np.pi / 2 * np.clip(4 * time_s / margin_s - 3, 0, 1)) ** 2
    taps *= window
    taps -= window * (taps.sum() / window.sum())  # no offset comes through
    circular = np.concatenate([taps[: n_in // 2], taps[n_in // 2 - n_in :]])
    response = np.fft.rfft(circular).real[: min(n_in, n_out) // 2] * (n_out / n_in)
    return response.astype(np.float32)  # so that the transforms of a night stay float32


# ----------------------------------------------------------------------------------------------------- events


def decode_events(probs: dict[str, np.ndarray], stages: np.ndarray, described: dict, slots: list[str]) -> dict:
    """Events that count, by task; a task is left out where the sensors that it needs are missing.

    Args:
      probs: by task (T, 1 + classes), the first column is none.
      stages: (E,) codes, -1 where nothing is usable.
      described: `config.json`, with `tasks`, `thresholds` and the rules of counting in `preprocessing`.
      slots: channels with a usable second.

    Returns:
      {task: [{"kind", "onset_s", "duration_s", "probability"}]}, sorted by onset.
    """
    rules, thresholds = described["preprocessing"], described["thresholds"]
    found = {}
    for task in described["tasks"]:
        name = task["name"]
        needs = {slot for need in task["needs"] for slot in rules["sensors"][need]}
        if task["kind"] == "events" and name in thresholds and needs & set(slots):
            found[name] = _permitted(probs[name], thresholds[name], task, rules["counting"][name])
    counted = {}
    for name, events in found.items():
        rule = rules["counting"][name]
        others = [e for of_task in found.values() for e in of_task if e["kind"] in rule["disturbed_by"]]
        counted[name] = [
            e for e in events if _apart(e, others, rule["margin_s"]) and _asleep(e, stages, rule["lead_s"])
        ]
    return counted


def scored(
    probabilities: dict[str, np.ndarray], vector: np.ndarray, ok: np.ndarray, arrays: dict, described: dict
) -> dict:
    """What `score_arrays` gives, but for the usable seconds.

    Args:
      probabilities: by task (T, classes), of events the first is none.
      vector: (Dm,) float32, the night's.
      ok: (E, L) bool, which tokens are there.
      arrays: see `prepare_night`.
      described: see `decode_events`.
    """
    rules, night = described["preprocessing"], {}
    night["stage_names"] = rules["stages"]
    if "stages" in probabilities:
        night["stages"] = np.where(ok.any(-1), probabilities["stages"].argmax(-1), -1).astype(np.int8)
        slots = {m: facts["slots"] for m, facts in rules["modalities"].items()}
        present = [slot for m in arrays for i, slot in enumerate(slots[m]) if arrays[m][1][:, i].any()]
        night["events"] = decode_events(probabilities, night["stages"], described, present)
    return night | {"probabilities": probabilities, "vector": vector}


def _permitted(probs: np.ndarray, threshold: float, task: dict, rule: dict) -> list[dict]:
    """Runs above the threshold, joined, neither too short nor too long, and far enough from the last one."""
    hz, any_class = task["rate_hz"], probs[:, 1:].sum(1)
    merged: list[list[float]] = []
    for start, stop in runs(any_class > threshold) / hz:
        if merged:
            both_whole = min(merged[-1][1] - merged[-1][0], stop - start) >= rule["whole_s"] - TOLERANCE_S
            if start - merged[-1][1] <= (0.0 if both_whole else task["join_s"]) + TOLERANCE_S:
                merged[-1][1] = stop
                continue
        merged.append([start, stop])
    longest_s = np.inf if task["longest_s"] is None or rule["cut"] else task["longest_s"]
    events: list[dict] = []
    last = -np.inf
    for start, stop in merged:
        long_enough = task["shortest_s"] - TOLERANCE_S <= stop - start <= longest_s + TOLERANCE_S
        if not long_enough or start - last < rule["separation_s"] - TOLERANCE_S:
            continue
        last = stop if rule["separated_from"] == "end" else start
        if rule["cut"]:
            stop = min(stop, start + task["longest_s"])
        inside = slice(round(start * hz), max(round(stop * hz), round(start * hz) + 1))
        kind = task["events"][int(probs[inside, 1:].mean(0, dtype=np.float64).argmax())][0]
        mean = float(any_class[inside].mean(dtype=np.float64))
        events.append({"kind": kind, "onset_s": float(start), "duration_s": float(stop - start), "probability": mean})
    return events


def _apart(event: dict, others: list[dict], margin_s: float) -> bool:
    near_s, onset_s, end_s = margin_s + TOLERANCE_S, event["onset_s"], event["onset_s"] + event["duration_s"]
    return not any(
        o["onset_s"] - near_s <= end_s and onset_s <= o["onset_s"] + o["duration_s"] + near_s for o in others
    )


def _asleep(event: dict, stages: np.ndarray, lead_s: float) -> bool:
    """Whether some part of it, or of the `lead_s` before it, lies in an epoch scored as sleep."""
    first = (event["onset_s"] - lead_s) // EPOCH_S
    end = np.ceil((event["onset_s"] + event["duration_s"] - TOLERANCE_S) / EPOCH_S)
    return bool((stages[max(0, int(first)) : max(0, int(end))] > 0).any())


# --------------------------------------------------------------------------------------------- both ends together


class ScoresArrays:
    """A model of any form: it has `described`, what `config.json` says, and `said_of`, see there."""

    def score_arrays(self, channels: dict[str, tuple], mains_hz: float | None = None) -> dict:
        """Scores a night given as arrays.

        Args:
          channels: {name: (samples (n,), rate in Hz)}, all from the same moment on, NaN where nothing was recorded;
            (samples, rate, (lowest, highest)) where it is known what the recorder can say, beyond which it clips. A
            name is a channel of the model ("C4", "E1", "CHIN", "LEG_L", "ECG", "THERMISTOR", "THORAX", "SPO2", ...) or
            an electrode against its reference ("C4-M1"). EEG, EOG, EMG and ECG in microvolts, SPO2 in per cent.
          mains_hz: 50 or 60 where a notch is wanted whatever the signals show; None looks for a line in each.

        Returns:
          "stages" (E,) int8 over `stage_names`, -1 where nothing is usable; "probabilities" by task, of
          events the first is none; "events" by task, dictionaries of kind, onset_s, duration_s and probability;
          "vector" (Dm,) float32; "usable" {channel: (seconds,) bool}.

        Raises:
          ValueError: an unknown channel, arrays that are none, or less than an epoch; it names the channel.
        """
        arrays, usable = prepare_night(channels, self.described["preprocessing"], mains_hz)
        probabilities, vector, ok = self.said_of(arrays)
        return scored(probabilities, vector, ok, arrays, self.described) | {"usable": usable}
