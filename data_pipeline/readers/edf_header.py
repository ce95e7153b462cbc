"""What the header of an EDF or BDF file says: where things lie, and what the signals are.

edfio interprets the fields of the signals; those that say where to read are checked here first.
"""

import codecs
import contextlib
import datetime
import re
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import LONGEST_S, Signal

_EDF_MAGIC = b"0       "
_BDF_MAGIC = b"\xffBIOSEMI"
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_SHORTEST_RECORD_S = 1e-5
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_NO_DAY = {(year, 1, day) for year in (1900, 1970, 1985, 2000, 2001) for day in (1, 2)}
"""What programs write that know no day, or must not tell it; and the morning after."""


def is_edf(path: Path) -> bool:
    """Whether the file begins as an EDF or BDF file. An empty one does too, so that it is named as empty."""
    with path.open("rb") as file:
        start = file.read(8)
    return start in (b"", _EDF_MAGIC, _BDF_MAGIC)


def labels_in(path: Path) -> frozenset[bytes]:
    """The labels in an EDF's header as they are written, outer blanks removed; none where it cannot be read."""
    with path.open("rb") as file:
        header = file.read(256)
        digits = header[252:256].strip()
        labels = file.read(16 * int(digits)) if digits.isdigit() else b""
    return frozenset(labels[start : start + 16].strip() for start in range(0, len(labels), 16))


@dataclass(frozen=True)
class Layout:
    """Where things lie in the file. All but `columns` count bytes or records."""

    header_bytes: int
    record_bytes: int
    sample_bytes: int
    declared_records: int
    record_s: Fraction
    is_plus: bool
    is_discontinuous: bool
    start_clock: str | None
    start_day: datetime.date | None
    columns: tuple[slice, ...]  # bytes of each ordinary signal in a record
    annotation_columns: tuple[slice, ...]


def read_header(path: Path) -> tuple[Layout, tuple[Signal, ...]]:
    """Where things lie in an EDF or BDF file, and its ordinary signals.

    Raises:
      RecordingError: the header is cut, or a number in it is none or cannot be.
    """
    with path.open("rb") as file:
        fixed = file.read(256)
        if not fixed:
            raise RecordingError(path, "the file is empty. Copy or export it again.")
        if len(fixed) < 256:
            problem = f"the header ends after {len(fixed)} bytes, expected at least 256. Copy it again."
            raise RecordingError(path, problem)
        n_signals = _number(path, fixed[252:256], "number of signals", int)
        if n_signals < 1:
            raise RecordingError(path, f"the header declares {n_signals} signals, expected at least 1.")
        header = fixed + file.read(256 * n_signals)
    header = header.replace(b"\0", b" ")  # some recorders pad with NUL instead of blanks
    header_bytes = _number(path, fixed[184:192], "bytes in header record", int)
    if header_bytes != (needed := 256 * (1 + n_signals)):
        problem = f"the header says it is {header_bytes} bytes long, but {n_signals} signals need {needed}"
        raise RecordingError(path, f"{problem}. The header is damaged: export the recording again.")
    if len(header) < header_bytes:
        raise RecordingError(path, f"the header ends after {len(header)} of {header_bytes} bytes. Copy the file again.")
    record_s = _number(path, fixed[244:252], "duration of a data record", Fraction)
    labels = [header[256 + 16 * i :][:16].decode("latin-1").rstrip() for i in range(n_signals)]
    samples_at = 256 + 216 * n_signals
    n_samples = [
        _number(path, header[samples_at + 8 * i :][:8], f"samples in a record of signal {i + 1}", int)
        for i in range(n_signals)
    ]
    is_bdf = fixed.startswith(_BDF_MAGIC)
    # Only the format's own word: in an EDF, a signal called "BDF Annotations" is a signal, to edfio too.
    is_annotation = [label == ("BDF Annotations" if is_bdf else "EDF Annotations") for label in labels]
    if min(n_samples) < 0 or sum(n_samples) == 0:
        raise RecordingError(path, "a data record has no samples. The header is damaged.")
    # Only a file of annotations may say 0. Beyond the rest nobody records, and floats end.
    if not (_SHORTEST_RECORD_S <= record_s <= LONGEST_S or (record_s == 0 and all(is_annotation))):
        problem = f"duration of a data record is {fixed[244:252].decode('latin-1').strip()} s"
        raise RecordingError(path, f"{problem}, expected more than 0 and not days long. The header is damaged.")
    sample_bytes = 3 if is_bdf else 2
    ends = np.cumsum(n_samples) * sample_bytes
    columns = [slice(int(end) - n * sample_bytes, int(end)) for n, end in zip(n_samples, ends, strict=True)]
    layout = Layout(
        header_bytes=header_bytes,
        record_bytes=int(ends[-1]),
        sample_bytes=sample_bytes,
        declared_records=_number(path, fixed[236:244], "number of data records", int),
        record_s=record_s,
        is_plus=fixed[192:196] in (b"EDF+", b"BDF+"),
        is_discontinuous=fixed[192:197] in (b"EDF+D", b"BDF+D"),
        start_clock=_clock(fixed[176:184]),
        start_day=_day(fixed[88:168], fixed[168:176]),
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
            problem = f"signal {index + 1}: physical or digital range is not a number"
            raise RecordingError(path, f"{problem}. The header is damaged: export the recording again.") from error
        rate_hz = Fraction(s.samples_per_data_record) / record_s
        label, unit = _text(s.label), _text(s.physical_dimension)
        signals.append(Signal(index, label, unit, rate_hz, *ranges, _text(s.transducer_type)))
    return tuple(signals)


def _text(latin: str) -> str:
    """A header's text, outer blanks removed. EDF allows ASCII only; what software writes beyond it is UTF-8 or Latin-1.

    Latin-1 that makes no sense as UTF-8 is Latin-1; a character that the field's end cut in two is left away.
    """
    latin = latin.strip(" ")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(latin.encode("latin-1")).strip()
    except UnicodeDecodeError:
        return latin.strip()


def _number(path: Path, field: bytes, name: str, kind: type) -> int | Fraction:
    text = field.strip(b" \0")
    if _NUMBER.fullmatch(text):
        with contextlib.suppress(ValueError):  # 1.5 or 1e3 where it must be an int
            return kind(text.decode())
    # Words may have slipped in from the fields before, the patient's among them: they are not repeated.
    shown = "words" if re.search(rb"[^\W\d]{2}|[\x80-\xff]{2}", text) else repr(text.decode("latin-1"))
    problem = f"header field '{name}' holds {shown}, expected a number"
    raise RecordingError(path, f"{problem}. The header is damaged: export the recording again.")


def _clock(field: bytes) -> str | None:
    match = re.fullmatch(rb"([ \d]\d)[.:]([ \d]\d)[.:]([ \d]\d)", field)
    if match is None:
        return None
    hour, minute, second = (int(part) for part in match.groups())
    return f"{hour:02}:{minute:02}:{second:02}" if hour < 24 and minute < 60 and second < 60 else None


def _day(recording: bytes, date: bytes) -> datetime.date | None:
    """The day of an EDF+ recording field, "Startdate 02-MAR-2002 …", or of the date field, "02.03.02"."""
    plus = re.match(rb"Startdate (\d\d)-([A-Za-z]{3})-(\d{4})", recording)
    short = re.fullmatch(rb"(\d\d)[.](\d\d)[.](\d\d)", date)
    if recording.startswith(b"Startdate X"):
        return None
    if plus and plus[2].decode().upper() in _MONTHS:
        day = int(plus[3]), 1 + _MONTHS.index(plus[2].decode().upper()), int(plus[1])
    elif short:
        year = int(short[3])
        day = year + (1900 if year >= 85 else 2000), int(short[2]), int(short[1])
    else:
        return None
    with contextlib.suppress(ValueError):
        return told_day(datetime.date(*day))
    return None


def told_day(day: datetime.date | None) -> datetime.date | None:
    """A day that somebody wrote down, None for what stands where nobody did."""
    return day if day and (day.year, day.month, day.day) not in _NO_DAY else None
