"""EDF, EDF+C, EDF+D, BDF and BDF+ at native rates.

Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+), https://www.edfplus.info/specs.

edfio interprets the header. The samples are read here because edfio joins the blocks of an EDF+D file, loads
a BDF file whole, and keeps every channel that was read; here a few megabytes are in memory at a time.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Annotation, Recording, Signal

_EDF_MAGIC = b"0       "
_BDF_MAGIC = b"\xffBIOSEMI"
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14(.*?)\x14?\x00", re.DOTALL)
"""A time-stamped annotation list: onset, duration, texts divided by 0x14 (EDF+ section 2.2.2)."""
_SHORTEST_RECORD_S = 1e-5
_MOST_MISSING = 30_000_000
"""Samples of one signal that may be missing in gaps: 16 h at 512 Hz. A few bytes can claim any number."""
_FURTHEST_S = 1e9
"""Onsets and durations of annotations are cut off here, far outside any recording."""
_PIECE_BYTES = 4 << 20
"""The data are read in pieces of whole records, about so large."""
_JITTER_S = 0.002
"""Time stamps of records may differ from the nominal by this much before it counts as a gap."""


def is_edf(path: Path) -> bool:
    """Whether the file begins as an EDF or BDF file. An empty one does too, so that it is named as empty."""
    with path.open("rb") as file:
        start = file.read(8)
    return start in (b"", _EDF_MAGIC, _BDF_MAGIC)


@dataclass(frozen=True)
class _Layout:
    """Where things lie in the file. All but `columns` count bytes or records."""

    header_bytes: int
    record_bytes: int
    sample_bytes: int
    declared_records: int
    record_s: Fraction
    is_discontinuous: bool
    start_clock: str | None
    columns: tuple[slice, ...]  # bytes of each ordinary signal in a record
    annotation_columns: tuple[slice, ...]


class _Records:
    """The data records of a file. The last piece read is kept: channels that are read in turn find it there.

    The file is not mapped into memory: a mapped file counts as memory as it is read, and kills the process when
    it is cut meanwhile.
    """

    def __init__(self, path: Path, layout: _Layout, n_records: int) -> None:
        self._path, self._layout, self._n_records = path, layout, n_records
        self._kept: tuple[int, np.ndarray] = 0, np.empty((0, layout.record_bytes), np.uint8)
        self._piece = max(1, _PIECE_BYTES // layout.record_bytes)

    def __len__(self) -> int:
        return self._n_records

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """Records [first, last) as (index of the first, (n, record_bytes) uint8)."""
        while first < last:
            n = min(last - first, self._piece)
            yield first, self._rows(first, n)
            first += n

    def column(self, column: slice) -> np.ndarray:
        """(n_records, width) uint8: some bytes of every record."""
        return np.concatenate([rows[:, column] for _, rows in self.pieces(0, self._n_records)])

    def _rows(self, first: int, n: int) -> np.ndarray:
        start, rows = self._kept
        if not start <= first <= first + n <= start + len(rows):
            try:
                with self._path.open("rb") as file:
                    file.seek(self._layout.header_bytes + first * self._layout.record_bytes)
                    rows = np.fromfile(file, np.uint8, n * self._layout.record_bytes)
            except OSError as error:  # while a shard is written, this must not be taken for the shard's
                raise RecordingError(self._path, f"it cannot be read any more ({error.strerror}).") from error
            if len(rows) < n * self._layout.record_bytes:
                raise RecordingError(self._path, "it became shorter while it was read. Copy it again.")
            start, rows = first, rows.reshape(n, -1)
            self._kept = start, rows
        return rows[first - start : first - start + n]


def read_edf(path: Path) -> Recording:
    """Opens an EDF or BDF file of any kind; an annotation-only file gives a recording without signals.

    A file cut inside its data is read to its last whole record, with a note. EDF+D blocks stay at their
    true time, the stretches between them are `gaps`.

    Raises:
      RecordingError: empty, truncated or damaged header, no data records, or more data than the header says.
    """
    layout, signals = _read_header(path)
    n_records, notes = _count_records(path, layout)
    records = _Records(path, layout, n_records)
    starts_s = _record_starts(path, layout, records)
    annotations = _read_annotations(layout, records)
    ends_s = starts_s + float(layout.record_s)
    duration_s = round(float(ends_s[-1]), 9)  # 0.1 s records must not end at 3599.9999… s
    if duration_s > LONGEST_S:
        raise RecordingError(
            path,
            f"by its header and time stamps it is {duration_s / 86400:.1f} days long, expected at "
            f"most {LONGEST_S // 86400}. The header is damaged, or the file must be split into nights.",
        )
    is_gap = starts_s[1:] - ends_s[:-1] > _JITTER_S
    gaps = tuple((float(a), float(b)) for a, b in zip(ends_s[:-1][is_gap], starts_s[1:][is_gap], strict=True))
    lost_s = sum(b - a for a, b in gaps)
    if gaps:
        notes.append(f"{len(gaps)} gap(s), {lost_s:g} s in all, in which nothing was recorded.")

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        signal = signals[index]
        rate_hz = float(signal.rate_hz)
        if lost_s * rate_hz > _MOST_MISSING:
            raise RecordingError(
                path,
                f"channel '{signal.label}': {lost_s:g} s are missing at {rate_hz:g} samples a second, "
                "too much to fill. Split the recording at its gaps, or mend its header.",
            )
        first, last = round(start_s * rate_hz), round(stop_s * rate_hz)
        inside = np.flatnonzero((ends_s > start_s) & (starts_s < stop_s))
        if not inside.size:
            return np.full(last - first, np.nan, np.float32)
        # Each record goes to its own place; in a file without gaps that is one copy a piece.
        places = np.round(starts_s[inside[0] : inside[-1] + 1] * rate_hz).astype(np.int64) - first
        samples = np.full(last - first, np.nan, np.float32)
        for piece_first, rows in records.pieces(inside[0], inside[-1] + 1):
            physical = _calibrate(_decode(rows[:, layout.columns[index]], layout.sample_bytes), signal)
            begins = places[piece_first - inside[0] :][: len(rows)]
            n = physical.shape[1]
            if np.array_equal(begins, begins[0] + n * np.arange(len(begins))):
                physical, begins = physical.reshape(1, -1), begins[:1]
            for begin, block in zip(begins, physical, strict=True):
                lo, hi = max(begin, 0), min(begin + len(block), len(samples))
                if lo < hi:
                    samples[lo:hi] = block[lo - begin : hi - begin]
        return samples

    return Recording(
        path, duration_s, signals, annotations, gaps, layout.start_clock, tuple(notes), read_span
    )


def _read_header(path: Path) -> tuple[_Layout, tuple[Signal, ...]]:
    with path.open("rb") as file:
        fixed = file.read(256)
        if not fixed:
            raise RecordingError(path, "the file is empty. Copy or export it again.")
        if len(fixed) < 256:
            raise RecordingError(
                path, f"the header ends after {len(fixed)} bytes, expected at least 256. Copy it again."
            )
        n_signals = _number(path, fixed[252:256], "number of signals", int)
        if n_signals < 1:
            raise RecordingError(path, f"the header declares {n_signals} signals, expected at least 1.")
        header = fixed + file.read(256 * n_signals)
    header = header.replace(b"\0", b" ")  # some recorders pad with NUL instead of blanks
    header_bytes = _number(path, fixed[184:192], "bytes in header record", int)
    if header_bytes != 256 * (1 + n_signals):
        raise RecordingError(
            path,
            f"the header says it is {header_bytes} bytes long, but {n_signals} signals need "
            f"{256 * (1 + n_signals)}. The header is damaged: export the recording again.",
        )
    if len(header) < header_bytes:
        raise RecordingError(
            path, f"the header ends after {len(header)} of {header_bytes} bytes. Copy the file again."
        )
    record_s = _number(path, fixed[244:252], "duration of a data record", Fraction)
    labels = [header[256 + 16 * i :][:16].decode("latin-1").rstrip() for i in range(n_signals)]
    samples_at = 256 + 216 * n_signals
    n_samples = [
        _number(path, header[samples_at + 8 * i :][:8], f"samples in a record of '{labels[i]}'", int)
        for i in range(n_signals)
    ]
    is_bdf = fixed.startswith(_BDF_MAGIC)
    # Only the format's own word: in an EDF, a signal called "BDF Annotations" is a signal, to edfio too.
    is_annotation = [label == ("BDF Annotations" if is_bdf else "EDF Annotations") for label in labels]
    if min(n_samples) < 0 or sum(n_samples) == 0:
        raise RecordingError(path, "a data record has no samples. The header is damaged.")
    # Only a file of annotations may say 0. Beyond the rest nobody records, and floats end.
    if not (_SHORTEST_RECORD_S <= record_s <= LONGEST_S or (record_s == 0 and all(is_annotation))):
        raise RecordingError(
            path,
            f"duration of a data record is {fixed[244:252].decode('latin-1').strip()} s, expected more than "
            "0 and not days long. The header is damaged.",
        )
    sample_bytes = 3 if is_bdf else 2
    ends = np.cumsum(n_samples) * sample_bytes
    columns = [slice(int(end) - n * sample_bytes, int(end)) for n, end in zip(n_samples, ends, strict=True)]
    layout = _Layout(
        header_bytes=header_bytes,
        record_bytes=int(ends[-1]),
        sample_bytes=sample_bytes,
        declared_records=_number(path, fixed[236:244], "number of data records", int),
        record_s=record_s,
        is_discontinuous=fixed[192:197] in (b"EDF+D", b"BDF+D"),
        start_clock=_clock(fixed[176:184]),
        columns=tuple(c for c, a in zip(columns, is_annotation, strict=True) if not a),
        annotation_columns=tuple(c for c, a in zip(columns, is_annotation, strict=True) if a),
    )
    return layout, _parse_signals(path, header, is_bdf, record_s)


def _parse_signals(path: Path, header: bytes, is_bdf: bool, record_s: Fraction) -> tuple[Signal, ...]:
    read = edfio.read_bdf if is_bdf else edfio.read_edf
    with warnings.catch_warnings():
        # It is given the header alone, and says that the data are missing.
        warnings.filterwarnings("ignore", message=".*header indicates.*")
        edf = read(header, header_encoding="latin-1")
    signals = []
    for index, s in enumerate(edf.signals):
        try:
            ranges = (s.physical_min, s.physical_max), (s.digital_min, s.digital_max)
        except ValueError as error:
            raise RecordingError(
                path,
                f"channel '{s.label}': physical or digital range is not a number. "
                "The header is damaged: export the recording again.",
            ) from error
        rate_hz = Fraction(s.samples_per_data_record) / record_s
        signals.append(
            Signal(
                index,
                s.label.strip(),
                s.physical_dimension.strip(),
                rate_hz,
                *ranges,
                s.transducer_type,
                s.prefiltering,
            )
        )
    return tuple(signals)


def _number(path: Path, field: bytes, name: str, kind: type) -> int | Fraction:
    text = field.strip(b" \0")
    if _NUMBER.fullmatch(text):
        with contextlib.suppress(ValueError):  # 1.5 or 1e3 where it must be an int
            return kind(text.decode())
    # Words may have slipped in from the fields before, the patient's among them: they are not repeated.
    shown = "words" if re.search(rb"[^\W\d]{2}|[\x80-\xff]{2}", text) else repr(text.decode("latin-1"))
    raise RecordingError(
        path,
        f"header field '{name}' holds {shown}, expected a number. "
        "The header is damaged: export the recording again.",
    )


def _clock(field: bytes) -> str | None:
    match = re.fullmatch(rb"([ \d]\d)[.:]([ \d]\d)[.:]([ \d]\d)", field)
    if match is None:
        return None
    hour, minute, second = (int(part) for part in match.groups())
    return f"{hour:02}:{minute:02}:{second:02}" if hour < 24 and minute < 60 and second < 60 else None


def _count_records(path: Path, layout: _Layout) -> tuple[int, list[str]]:
    data_bytes = path.stat().st_size - layout.header_bytes
    whole, rest = divmod(data_bytes, layout.record_bytes)
    declared = layout.declared_records
    if whole == 0 or declared == 0:
        raise RecordingError(
            path,
            f"it holds no whole data record ({data_bytes} bytes of data, a record has "
            f"{layout.record_bytes}). Copy or export the recording again.",
        )
    if declared == -1:
        return whole, [
            "The recording was never closed (number of records -1): read to its last whole record."
        ]
    if whole > declared or declared < -1:
        raise RecordingError(
            path,
            f"the header declares {declared} data records, but the file holds {whole}. "
            "Header and data do not belong together: export the recording again.",
        )
    if whole < declared:
        return whole, [f"The file is cut: {whole} of {declared} data records are there."]
    return whole, [f"{rest} byte(s) after the last data record were ignored."] if rest else []


def _record_starts(path: Path, layout: _Layout, records: _Records) -> np.ndarray:
    """(n_records,) float64 seconds at which each record begins, the first at 0."""
    if not layout.is_discontinuous:
        return np.arange(len(records)) * float(layout.record_s)
    if not layout.annotation_columns:
        raise RecordingError(
            path,
            "declared discontinuous (EDF+D), but it has no annotation channel that says when. "
            "Export it as EDF+C.",
        )
    stamps = [TAL.match(row.tobytes()) for row in records.column(layout.annotation_columns[0])]
    if None in stamps:
        raise RecordingError(
            path,
            f"data record {stamps.index(None)} has no time stamp, expected one in each record of "
            "an EDF+D file. Export it again.",
        )
    starts_s = np.array([_seconds(stamp[1]) for stamp in stamps])
    starts_s -= starts_s[0]
    late_s = np.diff(starts_s) - float(layout.record_s)
    if len(late_s) and late_s.min() < -_JITTER_S:
        raise RecordingError(
            path,
            f"data record {int(late_s.argmin()) + 1} begins before the one before it ends. "
            "The time stamps are damaged: export it again.",
        )
    return starts_s


def _read_annotations(layout: _Layout, records: _Records) -> tuple[Annotation, ...]:
    return read_tals(
        [np.pad(records.column(c), ((0, 0), (0, 1))).tobytes() for c in layout.annotation_columns]
    )


def read_tals(channels: Sequence[bytes]) -> tuple[Annotation, ...]:
    """The annotations in the bytes of each annotation channel, sorted by onset from the first sample."""
    found: list[Annotation] = []
    offset_s = 0.0
    for channel, raw in enumerate(channels):
        for place, match in enumerate(TAL.finditer(raw)):
            onset_s, duration_s = _seconds(match[1]), match[2] and _seconds(match[2])
            if channel == 0 and place == 0 and not match[3]:
                # The first time stamp is the fraction of a second at which the first sample was taken.
                offset_s = onset_s
            found += [Annotation(onset_s, duration_s, _text(t)) for t in match[3].split(b"\x14") if t]
    shifted = (Annotation(round(a.onset_s - offset_s, 9), a.duration_s, a.text) for a in found)
    return tuple(sorted(shifted, key=lambda a: a.onset_s))


def _seconds(digits: bytes) -> float:
    return max(-_FURTHEST_S, min(float(digits), _FURTHEST_S))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:  # EDF+ demands UTF-8; older software writes Latin-1
        return raw.decode("latin-1").strip("\0 ")


def _decode(data: np.ndarray, sample_bytes: int) -> np.ndarray:
    """(records, bytes) uint8 -> (records, samples) little-endian integers of 16 or 24 bits."""
    data = np.ascontiguousarray(data)
    if sample_bytes == 2:
        return data.view("<i2")
    parts = data.reshape(len(data), -1, 3)
    wide = np.zeros((*parts.shape[:2], 4), np.uint8)
    wide[..., 1:] = parts
    return wide.view("<i4")[..., 0] >> 8  # the shift carries the sign


def _calibrate(digital: np.ndarray, signal: Signal) -> np.ndarray:
    if not signal.is_calibrated:
        return digital.astype(np.float32)
    (p_min, p_max), (d_min, d_max) = signal.physical_range, signal.digital_range
    gain = (p_max - p_min) / (d_max - d_min)
    physical = digital * np.float32(gain)
    physical += np.float32(p_min - d_min * gain)
    return physical
