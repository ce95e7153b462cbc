"""WFDB records (PhysioNet): a `.hea` header, and `.dat` or `.mat` signal files beside it.

https://wfdb.io/spec/header-files.html and https://wfdb.io/spec/signal-files.html

Read here, not through the wfdb package: that one takes a gain of 0 for 200 without a word, opens whatever address a
header or a path names, loads all channels for one, and needs pandas and two HTTP clients. The tests compare with it.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Recording, Signal, beside

_RECORD = re.compile(
    r"(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<n_signals>\d{1,4})"
    r"(?:\s+(?P<rate>\d{1,9}(?:\.\d{1,9})?)(?:/\S*)?(?:\s+(?P<frames>\d{1,12})(?:\s+(?P<clock>[\d:.]+).*)?)?)?\s*"
)
_SIGNAL = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,4})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,6}))?(?:\+(?P<offset>\d{1,9}))?"
    r"(?:\s+(?P<gain>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)?(?:\((?P<baseline>[-+]?\d{1,12})\))?(?:/(?P<unit>\S*))?"
    r"(?:\s+\d+(?:\s+(?P<zero>[-+]?\d{1,12})(?:\s+[-+]?\d+(?:\s+[-+]?\d+(?:\s+\d+(?:\s+(?P<label>.*))?)?)?)?)?)?)?\s*"
)
_BITS = {"16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
_DTYPES = {"16": "<i2", "32": "<i4", "61": ">i2", "80": "u1", "160": "<u2"}
_UNCALIBRATED_GAIN = 200.0
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class _Channel:
    """Where a signal lies in its file, and what its numbers mean."""

    file: str
    format: str
    offset: int  # bytes before the first frame
    per_frame: int  # samples of this signal in a frame
    skew: int  # frames by which it was written late
    gain: float  # stored steps a unit, 0 where nobody calibrated it
    baseline: int  # the stored value of 0 units
    unit: str
    label: str


@dataclass(frozen=True)
class Header:
    """A record's header.

    Attributes:
      path: the `.hea`.
      rate_hz: frames a second; annotation files count in frames.
      n_frames: as declared, None where it is not.
      start_clock: "22:31:05", or None.
      channels: one a signal, in the file's order.
      comments: the lines that begin with "#", without it. They may speak of the person.
    """

    path: Path
    rate_hz: Fraction
    n_frames: int | None
    start_clock: str | None
    channels: tuple[_Channel, ...]
    comments: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The signal files, in order."""
        return tuple(beside(self.path, name) for name in dict.fromkeys(c.file for c in self.channels))


def read_header(path: Path) -> Header:
    """Reads a `.hea` file.

    Raises:
      RecordingError: damaged, of several segments, in a format that is not read, or naming files elsewhere.
    """
    with path.open("rb") as file:
        text = file.read(_LONGEST_HEADER + 1)
    if len(text) > _LONGEST_HEADER:
        raise RecordingError(path, f"longer than {_LONGEST_HEADER} bytes, so it is no WFDB header.")
    # Single blanks: the patterns would take for ever over long runs of them.
    lines = [" ".join(line.split()) for line in text.decode("latin-1").splitlines()]
    fields = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD.fullmatch(fields[0]) if fields else None
    if record is None:
        problem = "its first line is no WFDB record line, expected name, number of signals, rate, length."
        raise RecordingError(path, problem)
    if record["segments"]:
        problem = "a record of several segments, expected one. Join them with WFDB's xform and give that record."
        raise RecordingError(path, problem)
    rate_hz = Fraction(record["rate"] or 250)  # the default of the specification
    n_signals = int(record["n_signals"])
    if not rate_hz or not n_signals or len(fields) - 1 < n_signals:
        problem = f"{n_signals} signals at {float(rate_hz):g} Hz in {len(fields) - 1} lines"
        expected = "a line for each signal and a rate above 0"
        raise RecordingError(path, f"{problem}, expected {expected}. The header is damaged.")
    channels = tuple(_channel(path, n, line) for n, line in enumerate(fields[1 : n_signals + 1], start=1))
    clock = re.match(r"(\d{1,2}):(\d\d):(\d\d)", record["clock"] or "")
    return Header(
        path=path,
        rate_hz=rate_hz,
        n_frames=int(record["frames"] or 0) or None,
        start_clock=f"{int(clock[1]):02}:{clock[2]}:{clock[3]}" if clock else None,
        channels=channels,
        comments=tuple(line[1:].strip() for line in lines if line.startswith("#")),
    )


def _channel(path: Path, number: int, line: str) -> _Channel:
    match = _SIGNAL.fullmatch(line)
    if match is None:
        raise RecordingError(path, f"the line of signal {number} cannot be read. The header is damaged.")
    label = match["label"] or f"signal {number}"
    if match["format"] not in _BITS:
        problem = f"signal {number} is stored in format {match['format']}, expected one of {', '.join(_BITS)}"
        raise RecordingError(path, f"{problem}. Convert the record to format 16 with WFDB's xform.")
    gain = float(match["gain"] or 0)
    if not isfinite(gain):
        raise RecordingError(path, f"the gain of signal {number} is not a finite number.")
    per_frame = int(match["per_frame"] or 1)
    if not per_frame:
        raise RecordingError(path, f"signal {number} has no sample in a frame, expected at least 1.")
    return _Channel(
        file=match["file"],
        format=match["format"],
        offset=int(match["offset"] or 0),
        per_frame=per_frame,
        skew=int(match["skew"] or 0),
        gain=gain,
        baseline=int(match["baseline"] or match["zero"] or 0),
        unit=match["unit"] or "mV",  # the default of the specification
        label=label,
    )


def read_wfdb(path: Path) -> Recording:
    """Opens a single-segment record by its `.hea`; samples are read from a memory map, one channel at a time.

    The value that a format keeps for "no sample" becomes NaN. A negative gain turns the polarity, as it says. A signal
    without gain, or with gain 0, was not calibrated: it has no unit.

    Raises:
      RecordingError: as `read_header`; a signal file is missing, or not as long as the header says.
    """
    header = read_header(path)
    names = dict.fromkeys(c.file for c in header.channels)
    groups = {name: [c for c in header.channels if c.file == name] for name in names}
    lengths = {name: _n_frames(header, name, group) for name, group in groups.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' {n}" for name, n in lengths.items())
        raise RecordingError(path, f"its signal files hold different numbers of frames: {listed}.")
    n_frames = next(iter(lengths.values()))
    if n_frames > LONGEST_S * header.rate_hz:
        problem = f"{float(n_frames / header.rate_hz) / 86400:.1f} days long, expected at most {LONGEST_S // 86400}"
        raise RecordingError(path, f"{problem}. The header is damaged, or the record must be split into nights.")
    signals = tuple(_signal(n, c, header.rate_hz * c.per_frame) for n, c in enumerate(header.channels))

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        channel = header.channels[index]
        rate_hz = float(signals[index].rate_hz)
        first, last = round(start_s * rate_hz), round(stop_s * rate_hz)
        shift = channel.skew * channel.per_frame
        lo, hi = first + shift, min(last + shift, n_frames * channel.per_frame)
        samples = np.full(last - first, np.nan, np.float32)
        if lo < hi:
            group = groups[channel.file]
            stored = _stored(beside(path, channel.file), group, group.index(channel), n_frames, lo, hi)
            missing = stored == -(1 << (_BITS[channel.format] - 1))
            samples[: hi - lo] = (stored - float(channel.baseline)) / (channel.gain or _UNCALIBRATED_GAIN)
            samples[: hi - lo][missing] = np.nan
        return samples

    raw = [str(number) for number, c in enumerate(header.channels, start=1) if not c.gain]
    notes = (f"Not calibrated, by its header: channels {', '.join(raw)}.",) if raw else ()
    duration_s = float(n_frames / header.rate_hz)
    return Recording(path, duration_s, signals, (), (), header.start_clock, notes, read_span)


def _signal(index: int, channel: _Channel, rate_hz: Fraction) -> Signal:
    highest = (1 << (_BITS[channel.format] - 1)) - 1
    digital = (-highest, highest)  # the value below means "no sample"
    gain = channel.gain or _UNCALIBRATED_GAIN
    low, high = ((value - channel.baseline) / gain for value in digital)
    return Signal(index, channel.label, channel.unit if channel.gain else "", rate_hz, (low, high), digital)


def _n_frames(header: Header, name: str, group: list[_Channel]) -> int:
    """Frames in a signal file, as its size and the header agree on."""
    first = group[0]
    if any((c.format, c.offset) != (first.format, first.offset) for c in group):
        problem = f"signals in '{name}' differ in format or offset, which cannot be. The header is damaged."
        raise RecordingError(header.path, problem)
    path = beside(header.path, name)
    if not path.is_file():
        raise RecordingError(header.path, f"its signal file '{name}' is not beside it. Copy both.")
    held = path.stat().st_size - first.offset
    per_frame = sum(c.per_frame for c in group)
    # Frames of 1.5-byte samples may end within a byte, and some writers fill the last pair.
    spare = 2 if first.format == "212" else 0
    n_frames = header.n_frames or max(held, 0) * 8 // (per_frame * _BITS[first.format])
    expected = ceil(n_frames * per_frame * _BITS[first.format] / 8)
    if not n_frames or not expected <= held <= expected + spare:
        problem = f"signal file '{name}' holds {held} bytes, expected {expected} for {n_frames} frames of {per_frame}"
        advice = "It is cut, or belongs to another header: copy the record again."
        raise RecordingError(header.path, f"{problem} samples. {advice}")
    return n_frames


def _stored(path: Path, group: list[_Channel], place: int, n_frames: int, lo: int, hi: int) -> np.ndarray:
    """(hi - lo,) integers of one signal of a file, from its sample `lo` on."""
    form, offset, n = group[0].format, group[0].offset, group[place].per_frame
    before, width = sum(c.per_frame for c in group[:place]), sum(c.per_frame for c in group)
    a, b = lo // n, -(-hi // n)  # whole frames around the span
    columns = slice(before, before + n)
    if form == "212":
        stored = _decode_212(path, offset, (np.arange(a, b)[:, None] * width + np.arange(n) + before).ravel())
    elif form == "24":
        data = np.memmap(path, np.uint8, "r", offset, (n_frames, width, 3))[a:b, columns]
        wide = np.zeros((*data.shape[:2], 4), np.uint8)
        wide[..., 1:] = data
        stored = wide.view("<i4").ravel() >> 8  # the shift carries the sign
    else:
        stored = np.memmap(path, _DTYPES[form], "r", offset, (n_frames, width))[a:b, columns].ravel()
        stored = stored.astype(np.int32) - {"80": 128, "160": 32768}.get(form, 0)
    return stored[lo - a * n : hi - a * n]


def _decode_212(path: Path, offset: int, at: np.ndarray) -> np.ndarray:
    """Samples number `at` of a file of 12-bit pairs: two low bytes, and their high halves between."""
    data = np.memmap(path, np.uint8, "r", offset)
    pair, odd = at // 2 * 3, at % 2
    low = data[pair + 2 * odd].astype(np.int32)
    high = (data[pair + 1] >> (4 * odd).astype(np.uint8)) & 0x0F
    stored = low | high.astype(np.int32) << 8
    return np.where(stored > 2047, stored - 4096, stored)
