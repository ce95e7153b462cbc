"""BrainVision: a `.vhdr` header, and the data and marker files that it names.

BrainVision Core Data Format 1.0 (Brain Products). Read here, not through mne: that one leaves upper-case units
unscaled, renames double labels, and joins what lies between two "New Segment" markers.
"""

import configparser
import math
import re
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal, beside, in_order
from data_pipeline.readers.timeline import Break, Timeline, check_gaps, joint

MAGIC = re.compile(rb"(\xef\xbb\xbf)?\s*(BrainVision|Brain Vision) Data Exchange Header File")
_DTYPES = {"INT_16": "<i2", "UINT_16": "<u2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}
_LARGEST_TEXT = 1 << 24
_NEW_SEGMENT = "New Segment"


@dataclass(frozen=True)
class _Header:
    data: Path
    markers: Path | None
    dtype: np.dtype
    vectorized: bool
    points: int | None
    rate_hz: Fraction
    channels: tuple[tuple[str, float, str], ...]  # label, resolution, unit


@dataclass(frozen=True)
class _Marker:
    kind: str
    text: str
    at: int  # sample, from 0
    samples: int
    date: datetime | None


def companions(path: Path) -> tuple[Path, ...]:
    """The files that a header names.

    Raises:
      RecordingError: the header is damaged, or names a file elsewhere.
    """
    header = _read_header(path)
    return tuple(file for file in (header.data, header.markers) if file is not None)


def read_brainvision(path: Path) -> Recording:
    """Opens a recording by its `.vhdr`; samples are read from a memory map, one channel at a time.

    Raises:
      RecordingError: a file is missing, damaged, of another length than the header says, or text instead of binary.
    """
    header = _read_header(path)
    n = _n_samples(path, header)
    if n > LONGEST_S * header.rate_hz:
        problem = f"{float(n / header.rate_hz) / 86400:.1f} days long, expected at most {LONGEST_S // 86400}"
        raise RecordingError(path, f"{problem}. The header is damaged, or the recording must be split into nights.")
    markers = _read_markers(header.markers) if header.markers else []
    segments = [m for m in markers if m.kind == _NEW_SEGMENT]
    timeline = Timeline(n, header.rate_hz, tuple(_breaks(path, segments, header.rate_hz)))
    if timeline.duration_s > LONGEST_S:
        raise RecordingError(path, f"by the dates of its segments longer than {LONGEST_S // 86400} days; split it.")
    check_gaps(path, timeline.gaps, float(header.rate_hz), "by the dates of its segments")
    n_channels = len(header.channels)
    shape = (n_channels, n) if header.vectorized else (n, n_channels)

    def load(index: int, first: int, stop: int) -> np.ndarray:
        data = np.memmap(header.data, header.dtype, "r", shape=shape)
        column = data[index, first:stop] if header.vectorized else data[first:stop, index]
        return column * header.channels[index][1]

    rate_hz = float(header.rate_hz)
    annotations = in_order(
        Annotation(timeline.true_s(m.at / rate_hz), m.samples / rate_hz if m.samples > 1 else None, m.text)
        for m in markers
        if m.kind != _NEW_SEGMENT and m.text
    )
    signals = tuple(_signal(n, header, *channel) for n, channel in enumerate(header.channels))
    date = next((m.date for m in segments if m.date), None)
    clock = f"{date:%H:%M:%S}" if date else None
    notes = timeline.notes
    if header.markers is None:
        notes += ("Its marker file is not there: interruptions and annotations are not known.",)
    return Recording(
        path, timeline.duration_s, signals, tuple(annotations), timeline.gaps, clock, notes, timeline.read_span(load)
    )


def _signal(index: int, header: _Header, label: str, resolution: float, unit: str) -> Signal:
    if header.dtype.kind == "f":
        return Signal(index, label, unit, header.rate_hz, (-math.inf, math.inf), (0, 1))
    stored = np.iinfo(header.dtype)
    limits = (stored.min * resolution, stored.max * resolution)
    return Signal(index, label, unit, header.rate_hz, limits, (int(stored.min), int(stored.max)))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_LARGEST_TEXT + 1)
    if len(data) > _LARGEST_TEXT:
        raise RecordingError(path, f"longer than {_LARGEST_TEXT} bytes, so it is no BrainVision text file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:  # before UTF-8 was prescribed: the code page of the recorder
        return data.decode("latin-1")


def _read_header(path: Path) -> _Header:
    # After the sections with keys comes a comment in free text.
    text = _text(path).partition("\n")[2].partition("[Comment]")[0]
    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=(";",), delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise RecordingError(path, f"damaged ({type(error).__name__}), expected [sections] of key=value.") from error

    def value(section: str, key: str, default: str | None = None) -> str:
        found = parser.get(section, key, fallback=default)
        if found is None:
            raise RecordingError(path, f"no {key} in section [{section}]. The header is damaged.")
        return found.strip()

    form = value("Common Infos", "DataFormat", "BINARY").upper()
    binary = value("Binary Infos", "BinaryFormat", "") if form == "BINARY" else form
    order = value("Common Infos", "DataOrientation").upper()
    if binary not in _DTYPES or order not in ("MULTIPLEXED", "VECTORIZED"):
        problem = f"data are {binary or 'in no stated format'}, {order}"
        expected = f"binary {', '.join(_DTYPES)}, MULTIPLEXED or VECTORIZED"
        raise RecordingError(path, f"{problem}; expected {expected}. Export it again as binary.")
    interval = value("Common Infos", "SamplingInterval")
    count = value("Common Infos", "NumberOfChannels")
    points = value("Common Infos", "DataPoints", "0")
    for key, number in (("SamplingInterval", interval), ("NumberOfChannels", count), ("DataPoints", points)):
        if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?" if key == "SamplingInterval" else r"\d{1,12}", number):
            raise RecordingError(path, f"{key} is {number!r}, expected a number. The header is damaged.")
    if not Fraction(interval) or not 0 < int(count) < 10_000:
        raise RecordingError(path, f"{count} channels every {interval} us, expected both above 0.")

    def named(key: str, fallback: str) -> Path:
        return beside(path, value("Common Infos", key, fallback).replace("$b", path.stem) or fallback)

    markers = named("MarkerFile", f"{path.stem}.vmrk")
    return _Header(
        data=named("DataFile", f"{path.stem}.eeg"),
        markers=markers if markers.is_file() else None,
        dtype=np.dtype(_DTYPES[binary]),
        vectorized=order == "VECTORIZED",
        points=int(points) or None,
        rate_hz=1_000_000 / Fraction(interval),
        channels=tuple(_channel(path, n, value("Channel Infos", f"Ch{n}")) for n in range(1, int(count) + 1)),
    )


def _channel(path: Path, number: int, line: str) -> tuple[str, float, str]:
    """Label, resolution and unit from "label,reference,resolution,unit"; the last two may be absent: 1 and µV."""
    label, _, resolution, unit, *_ = [*(part.strip() for part in line.split(",")), "", "", "", ""]
    label = label.replace(r"\1", ",")
    if not re.fullmatch(r"[-+]?\d*\.?\d*([eE][-+]?\d{1,2})?", resolution) or resolution in ("-", "+", "."):
        raise RecordingError(path, f"the resolution of channel {number} is not a number.")
    return label, float(resolution or 1), unit or "µV"


def _n_samples(path: Path, header: _Header) -> int:
    if not header.data.is_file():
        raise RecordingError(path, f"its data file '{header.data.name}' is not beside it. Copy all three files.")
    size = header.data.stat().st_size
    one = header.dtype.itemsize * len(header.channels)
    n = header.points or size // one
    if not n or size != n * one:
        problem = f"data file '{header.data.name}' holds {size} bytes"
        expected = f"{n * one} for {n} samples of {len(header.channels)} channels"
        advice = "It is cut, or belongs to another header: copy it again."
        raise RecordingError(path, f"{problem}, expected {expected}. {advice}")
    return n


def _read_markers(path: Path) -> list[_Marker]:
    """Lines "Mk3=type,description,position,points,channel,date" in order of position."""
    markers = []
    for line in _text(path).splitlines():
        match = re.fullmatch(r"Mk\d+=([^,]*),([^,]*),(\d{1,12}),(\d{1,12}),[^,]*(?:,(\d{20})?.*)?", line.strip())
        if match:
            kind, text, position, points, stamp = match.groups()
            try:
                date = datetime.strptime(stamp, "%Y%m%d%H%M%S%f") if stamp and int(stamp) else None
            except ValueError:
                date = None
            at = max(int(position) - 1, 0)
            markers.append(_Marker(kind.strip(), text.replace(r"\1", ",").strip(), at, int(points), date))
    return sorted(markers, key=lambda m: m.at)


def _breaks(path: Path, segments: list[_Marker], rate_hz: Fraction) -> list[Break]:
    """What was lost before each segment but the first, by their dates; None where one has no date."""
    breaks = []
    for before, after in pairwise(segments):
        lost = None
        if before.date and after.date:
            passed_s = (after.date - before.date).total_seconds()
            lost = round(passed_s * float(rate_hz)) - (after.at - before.at)
            if lost < -float(rate_hz):  # dates are good to the microsecond, clocks may be set
                problem = f"the segment at sample {after.at} begins before the one before it ends"
                raise RecordingError(path, f"{problem}. The dates of its markers are damaged: export it again.")
        breaks.append(joint(after.at, None if lost is None else max(lost, 0)))
    return breaks
