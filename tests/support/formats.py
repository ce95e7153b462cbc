"""One writer a format beyond EDF, of samples that are small whole numbers: exact in every format."""

import datetime
import struct
from pathlib import Path

import mne
import numpy as np
import scipy.io
import wfdb

# Samples of the look-alikes are small whole numbers: exact in every format.
N, RATE_HZ = 1000, 100


def ramp(n_channels: int, n: int = N) -> np.ndarray:
    """(n, n_channels): sample k of channel c is k + 1 + 10,000 c, kept below 2,000."""
    return (np.arange(n)[:, None] + 1 + 10_000 * np.arange(n_channels)) % 1999


_UNWRITTEN = {"61": lambda x: x.astype(">i2"), "160": lambda x: (x + 32768).astype("<u2")}
"""Formats that the wfdb package reads and does not write."""


def write_wfdb(folder: Path, digital: np.ndarray | None = None, form: str = "16") -> Path:
    """Three signals at most; the second has the negative gain that the wfdb package reads but does not write."""
    digital = ramp(2, 400) if digital is None else digital
    n = digital.shape[1]
    wfdb.wrsamp(
        "rec",
        fs=250,
        units=["uV", "mV", "%"][:n],
        sig_name=["C4-M1", "ECG", "SpO2"][:n],
        d_signal=digital,
        fmt=["16" if form in _UNWRITTEN else form] * n,
        adc_gain=[100.0, 50.0, 1.0][:n],
        baseline=[7, -5, 0][:n],
        write_dir=str(folder),
    )
    path = folder / "rec.hea"
    text = path.read_text().replace("50.0(-5)", "-50.0(-5)")
    if form in _UNWRITTEN:
        (folder / "rec.dat").write_bytes(_UNWRITTEN[form](digital).tobytes())
        text = text.replace("rec.dat 16 ", f"rec.dat {form} ")
    path.write_text(text)
    return path


def write_brainvision(
    folder: Path,
    *,
    vectorized=False,
    dtype="INT_16",
    markers=(),
    name="rec",
    data_name="$b.eeg",
    units=("µV", "UV", "%"),
):
    data = ramp(3).astype({"INT_16": "<i2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}[dtype])
    (folder / f"{name}.eeg").write_bytes((data.T if vectorized else data).tobytes())
    channels = "\n".join(
        f"Ch{n}={label},,{resolution},{unit}"
        for n, (label, resolution, unit) in enumerate(
            zip(("C4", "C4", "SpO2"), ("0.5", "0.1", ""), units, strict=True), 1
        )
    )
    (folder / f"{name}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n; free text = not a key\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data_name}\nMarkerFile={name}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation={'VECTORIZED' if vectorized else 'MULTIPLEXED'}\nNumberOfChannels=3\n"
        f"SamplingInterval=1950\nDataPoints={N}\n[Binary Infos]\nBinaryFormat={dtype}\n[Channel Infos]\n{channels}\n"
        "[Comment]\nA m p l i f i e r  S e t u p\n[neither section\nnor=key = value\n",
        encoding="utf-8",
    )
    lines = "\n".join(f"Mk{n}={marker}" for n, marker in enumerate(markers, 1))
    (folder / f"{name}.vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n{lines}\n", encoding="utf-8"
    )
    return folder / f"{name}.vhdr"


def write_eeglab(folder: Path, *, separate=False, events=(), data_name="rec.fdt") -> Path:
    data = ramp(2).T.astype("<f4")
    if separate:
        (folder / "rec.fdt").write_bytes(data.T.tobytes())
    eeg = {
        "setname": "", "nbchan": 2.0, "pnts": float(N), "trials": 1.0, "srate": float(RATE_HZ), "xmin": 0.0,
        "data": data_name if separate else data, "icaweights": [], "icasphere": [],
        "chanlocs": np.array([("C4",), ("SpO2",)], [("labels", object)]),
        "event": np.array(
            [(kind, at, length) for kind, at, length in events],
            [("type", object), ("latency", object), ("duration", object)],
        ),
    }  # fmt: skip
    scipy.io.savemat(folder / "rec.set", {"EEG": eeg})
    return folder / "rec.set"


def write_fif(folder: Path, *, skip=False, first_samp=0, n=N, **options) -> Path:
    info = mne.create_info(["C4", "SpO2"], RATE_HZ, ["eeg", "misc"])
    raw = mne.io.RawArray(ramp(2, n).T * [[1e-6], [1.0]], info, first_samp=first_samp, verbose="ERROR")
    raw.set_meas_date(datetime.datetime(2020, 1, 1, 22, 31, 5, tzinfo=datetime.UTC))
    onsets, lengths, texts = [1.0, 3.0], [0.0, 2.0], ["Arousal", "Sleep stage N2"]
    if skip:
        onsets, lengths, texts = [*onsets, 4.0], [*lengths, 1.5], [*texts, "BAD_ACQ_SKIP"]
    raw.set_annotations(mne.Annotations(onsets, lengths, texts))
    path = folder / "rec_raw.fif"
    raw.save(path, fmt="single", verbose="ERROR", **options)
    return path


def write_gdf(folder: Path, *, samples=(10, 10), records=100, old=False) -> Path:
    """Header of 256 bytes and of 256 a channel, records of int16, one event of type 32766 before sample 501."""
    n = len(samples)
    fixed = bytearray(256)
    fixed[:8] = b"GDF 1.25" if old else b"GDF 2.20"
    fixed[236:252] = struct.pack("<qII", records, 1, 10)
    if old:
        fixed[168:184] = b"2020010122310500"
        fixed[184:192] = struct.pack("<q", 256 * (n + 1))
        fixed[252:256] = struct.pack("<I", n)
    else:
        fixed[184:186] = struct.pack("<H", n + 1)
        fixed[252:254] = struct.pack("<H", n)
    digital = struct.pack("<2q", -32768, 32767) if old else struct.pack("<2d", -32768, 32767)
    columns = [
        b"".join(label.ljust(16, b"\0") for label in (b"C4", b"SpO2")[:n]),
        bytes(80 * n),
        b"uV      %       " if old else bytes(6 * n) + struct.pack("<2H", 4275, 544),
        struct.pack("<2d", -16384, -32768),
        struct.pack("<2d", 16383.5, 32767),
        digital[:8] * n,
        digital[8:] * n,
        bytes(80 * n),
        struct.pack(f"<{n}I", *samples),
        struct.pack("<2I", 3, 3),
        bytes(32 * n),
    ]
    data = ramp(2, samples[0] * records).astype("<i2").reshape(records, samples[0], 2).transpose(0, 2, 1)
    rows = [row.tobytes() for record in data for row in record]
    count = b"\x64\0\0\x01\0\0\0" if old else b"\x01\0\0" + struct.pack("<f", RATE_HZ)
    events = b"\x01" + count + struct.pack("<IH", 501, 32766)
    (folder / "rec.gdf").write_bytes(bytes(fixed) + b"".join(columns) + b"".join(rows) + events)
    return folder / "rec.gdf"


def write_nihon_kohden(folder: Path, blocks=(6.0, 4.0)) -> Path:
    """By the layout that mne reads: fixed places for the device, a control block, and data blocks of 6 and 4 s."""
    file = bytearray(0x1800)
    file[:16] = file[0x81:0x91] = b"EEG-1100A V01.00"
    file[0x91] = file[0x17FE] = 1
    file[0x92:0x96] = struct.pack("<I", 0x400)
    file[0x400 + 17] = len(blocks)
    start = 0
    for block, seconds in enumerate(blocks):
        file[0x412 + 20 * block : 0x416 + 20 * block] = struct.pack("<I", len(file))
        n = round(seconds * RATE_HZ)
        head = bytearray(0x27 + 20)
        head[0x1A:0x20] = struct.pack("<HI", RATE_HZ | 0xC000, round(seconds * 10))
        head[0x26] = 2
        head[0x27], head[0x31] = 5, 9  # C4 and O2 in the recorder's own list
        data = np.concatenate([ramp(2)[start : start + n], np.zeros((n, 1), int)], axis=1)
        file += head + (data + 0x8000).astype("<u2").tobytes()
        start += n
    (folder / "REC.EEG").write_bytes(file)
    return folder / "REC.EEG"
