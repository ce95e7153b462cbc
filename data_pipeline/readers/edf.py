"""EDF, EDF+C, EDF+D, BDF and BDF+ at native rates.

Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+), https://www.edfplus.info/specs.

The samples are read here, not by edfio, which joins the blocks of an EDF+D file, loads a BDF file whole, and keeps
every channel that was read; here a few megabytes are in memory at a time.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.edf_header import Layout, read_header
from data_pipeline.readers.recording import LONGEST_S, Recording, Signal, gaps_note
from data_pipeline.readers.tal import first_stamp_s, read_tals
from data_pipeline.readers.timeline import check_gaps
from data_pipeline.readers.transfer import changed_in_transfer, misplaced

_PIECE_BYTES = 4 << 20
"""The data are read in pieces of whole records, about so large."""
_LISTS = 4096
"""Records whose annotations are looked through at once."""
_JITTER_S = 0.002
"""Time stamps of records may differ from the nominal by this much before it counts as a gap."""


class _Records:
    """The data records of a file. The last piece read is kept: channels that are read in turn find it there.

    The file is not mapped into memory: a mapped file counts as memory as it is read, and kills the process when
    it is cut meanwhile.
    """

    def __init__(self, path: Path, layout: Layout, n_records: int) -> None:
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
      RecordingError: empty, truncated or damaged header, no data records, more data than the header says, or data
        that were changed in transfer.
    """
    layout, signals = read_header(path)
    n_records, notes = _count_records(path, layout)
    records = _Records(path, layout, n_records)
    marks = [records.column(column) for column in layout.annotation_columns]
    starts_s = _record_starts(path, layout, records, marks)
    annotations = read_tals(path, map(_lists, marks))
    ends_s = starts_s + float(layout.record_s)
    duration_s = round(float(ends_s[-1]), 9)  # 0.1 s records must not end at 3599.9999… s
    if duration_s > LONGEST_S:
        problem = f"by its header and time stamps it is {duration_s / 86400:.1f} days long"
        advice = "The header is damaged, or the file must be split into nights."
        raise RecordingError(path, f"{problem}, expected at most {LONGEST_S // 86400}. {advice}")
    is_gap = starts_s[1:] - ends_s[:-1] > _JITTER_S
    gaps = tuple((float(a), float(b)) for a, b in zip(ends_s[:-1][is_gap], starts_s[1:][is_gap], strict=True))
    if gaps:
        notes.append(gaps_note(gaps))

    def read_span(index: int, start_s: float, stop_s: float) -> np.ndarray:
        signal = signals[index]
        rate_hz = float(signal.rate_hz)
        check_gaps(path, gaps, rate_hz, f"channel {index + 1}")
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

    clock, day = layout.start_clock, layout.start_day
    return Recording(path, duration_s, signals, annotations, gaps, clock, tuple(notes), read_span, day)


def _count_records(path: Path, layout: Layout) -> tuple[int, list[str]]:
    data_bytes = path.stat().st_size - layout.header_bytes
    whole, rest = divmod(data_bytes, layout.record_bytes)
    declared = layout.declared_records
    if whole == 0 or declared == 0:
        problem = f"it holds no whole data record ({data_bytes} bytes of data, a record has {layout.record_bytes})"
        raise RecordingError(path, f"{problem}. Copy or export the recording again.")
    if (rest or declared not in (-1, whole)) and (
        how := changed_in_transfer(path, layout.header_bytes, declared * layout.record_bytes - data_bytes)
    ):
        problem = f"its data were changed in transfer: {how}, and its size is not what its header says"
        raise RecordingError(path, f"{problem}. Copy it again, as a binary file, from where it was recorded.")
    if declared == -1:
        return whole, ["The recording was never closed (number of records -1): read to its last whole record."]
    if whole > declared or declared < -1:
        problem = f"the header declares {declared} data records, but the file holds {whole}"
        raise RecordingError(path, f"{problem}. Header and data do not belong together: export the recording again.")
    if whole < declared:
        return whole, [f"The file is cut: {whole} of {declared} data records are there."]
    return whole, [f"{rest} byte(s) after the last data record were ignored."] if rest else []


def _record_starts(path: Path, layout: Layout, records: _Records, marks: list[np.ndarray]) -> np.ndarray:
    """(n_records,) float64 seconds at which each record begins, the first at 0."""
    rows = [row.tobytes() for column in marks[:1] for row in column]
    stamps_s = [first_stamp_s(row) for row in rows]
    if layout.is_plus and (wrong := misplaced(rows, stamps_s)) is not None:
        problem = f"data record {wrong} of {len(records)} does not begin with its time stamp, as each of an EDF+ does"
        raise RecordingError(path, f"{problem}: bytes were lost or changed in transfer. Copy or export it again.")
    if not layout.is_discontinuous:
        return np.arange(len(records)) * float(layout.record_s)
    if not layout.annotation_columns:
        problem = "declared discontinuous (EDF+D), but it has no annotation channel that says when. Export it as EDF+C."
        raise RecordingError(path, problem)
    if None in stamps_s:
        problem = f"data record {stamps_s.index(None)} has no time stamp, expected one in each record of an EDF+D file"
        raise RecordingError(path, f"{problem}. Export it again.")
    starts_s = np.array(stamps_s) - stamps_s[0]
    late_s = np.diff(starts_s) - float(layout.record_s)
    if len(late_s) and late_s.min() < -_JITTER_S:
        problem = f"data record {int(late_s.argmin()) + 1} begins before the one before it ends"
        raise RecordingError(path, f"{problem}. The time stamps are damaged: export it again.")
    return starts_s


def _lists(marks: np.ndarray) -> Iterator[bytes]:
    """An annotation channel (records, bytes), some records at a time, each record's ended by a zero."""
    for first in range(0, len(marks), _LISTS):
        yield np.pad(marks[first : first + _LISTS], ((0, 0), (0, 1))).tobytes()


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
