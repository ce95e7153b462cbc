"""GDF 1.x and 2.x (BioSig), https://arxiv.org/abs/cs/0608052.

mne reads it, but raises slow channels to the rate of the fastest: a file with several rates is refused.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.mne_raw import reading, recording_of
from data_pipeline.readers.recording import Recording

MAGIC = b"GDF "
_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8, 279: 3, 535: 3}
_VOLTS = {4256: 1.0, 4274: 1e-3, 4275: 1e-6}  # codes of V, mV and µV
_PER_CENT = 544
_MOST_EVENTS = 10_000
"""Assumed; mne sorts them for minutes where there are many more."""
_NEW_SEGMENT = "32766"  # event 0x7ffe: the recorder stood still


@dataclass(frozen=True)
class _Header:
    labels: list[str]
    units: list[str]
    limits: list[tuple[float, float]]
    samples: np.ndarray  # of each channel in a record
    data_end: int  # bytes
    events: int  # in the table after the data


def read_gdf(path: Path) -> Recording:
    """Opens a recording whose channels have one rate; samples are read by window.

    Raises:
      RecordingError: cut, damaged, or several rates.
    """
    import mne

    with reading(path, "GDF file"):
        header = _read_header(path)
    size = path.stat().st_size
    if size < header.data_end:
        problem = f"holds {size} bytes, expected at least {header.data_end} for the records that its header declares"
        raise RecordingError(path, f"{problem}. It is cut: copy it again.")
    if len(set(header.samples.tolist())) != 1:
        problem = f"its channels have {', '.join(map(str, sorted(set(header.samples.tolist()))))} samples a record"
        raise RecordingError(path, f"{problem}; GDF is read with one rate only. Export it as EDF+.")
    if header.events > _MOST_EVENTS:
        problem = f"its event table holds {header.events}, expected at most {_MOST_EVENTS}"
        raise RecordingError(path, f"{problem}. The table is damaged: export the recording again.")
    with reading(path, "GDF file"):
        raw = mne.io.read_raw_gdf(path, preload=False, stim_channel=None, verbose="ERROR")
        raw.rename_channels(dict(zip(raw.ch_names, header.labels, strict=True)), allow_duplicates=True)
    return recording_of(path, raw, "GDF file", units=header.units, limits=header.limits, joints=(_NEW_SEGMENT,))


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        fixed = file.read(256)
        old = float(fixed[4:8]) < 1.9
        n = int.from_bytes(fixed[252:256] if old else fixed[252:254], "little")
        data = file.read(256 * n)
    start = int.from_bytes(fixed[184:192], "little") if old else 256 * int.from_bytes(fixed[184:186], "little")
    records = int.from_bytes(fixed[236:244], "little", signed=True)
    if len(data) < 256 * n or not n or records < 1:
        problem = f"{n} channels and {records} records in a header of {256 + len(data)} bytes, expected at least one"
        advice = "The recording was never closed, or the header is damaged: export it again."
        raise RecordingError(path, f"{problem} of each. {advice}")

    def column(at: int, dtype: str) -> np.ndarray:
        return np.frombuffer(data, dtype, n, at * n)

    labels = [text.split(b"\0")[0].decode("latin-1").strip() for text in column(0, "S16")]
    texts = [text.split(b"\0")[0].decode("latin-1").strip() for text in column(96, "S8")]
    codes = column(102, "<u2").tolist()
    samples, types = column(216, "<u4"), column(220, "<u4").tolist()
    if old:
        factors = [1e-6 if text[:2] == "uV" else 1.0 for text in texts]
        units = ["V" if text[:2] == "uV" else text for text in texts]
    else:
        factors = [_VOLTS.get(code, 1.0) for code in codes]
        units = ["V" if code in _VOLTS else "%" if code == _PER_CENT else "" for code in codes]
    ranges = zip(column(104, "<f8") * factors, column(112, "<f8") * factors, strict=True)
    record_bytes = sum(int(k) * _BYTES[t] for k, t in zip(samples, types, strict=True))
    limits = [(float(low), float(high)) for low, high in ranges]
    data_end = start + records * record_bytes
    with path.open("rb") as file:
        file.seek(data_end)
        table = file.read(8)  # mode, then rate in 3 bytes and number of events in 4, or the number in 3 bytes
    events = int.from_bytes(table[4:8] if float(fixed[4:8]) < 1.94 else table[1:4], "little")
    return _Header(labels, units, limits, samples, data_end, events)
