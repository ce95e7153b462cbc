"""Small well-made files of every kind that comes from outside, and ways to spoil them."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import edfio
import numpy as np

from data_pipeline.shards.manifest import MANIFEST
from tests.campaign.prepared import SOURCES, files, perhaps_sealed
from tests.support.formats import write_fif, write_gdf


@dataclass(frozen=True)
class Seed:
    """A file to spoil.

    Attributes:
      dialect: what it is, for the report.
      role: how it is read: "recording", "scoring", "demographics", "montage", "manifest", "shard", "cache" or
        "journal".
      suffix: of its file name.
      data: its bytes.
      beside: (name, bytes) of the files that it needs.
      opens: suffix of the file that is opened, where it is not this one.
      name: of its file, without the suffix.
    """

    dialect: str
    role: str
    suffix: str
    data: bytes
    beside: tuple[tuple[str, bytes], ...] = ()
    opens: str = ""
    name: str = "night"


@cache
def seeds() -> tuple[Seed, ...]:
    """One of each dialect. A new dialect of scoring joins by a line here."""
    data, shards = ("night.eeg", _samples(3)), files()
    return (
        Seed("EDF", "recording", ".edf", _edf(plus=False)),
        Seed("EDF+", "recording", ".edf", _edf()),
        Seed("EDF+D", "recording", ".edf", _edf().replace(b"EDF+C", b"EDF+D", 1)),
        Seed("BDF", "recording", ".bdf", _edf(bdf=True)),
        Seed("EDF+ annotations", "scoring", ".edf", _annotations()),
        Seed("CSV", "scoring", ".csv", _CSV),
        Seed("TSV", "scoring", ".tsv", _CSV.replace(b",", b"\t")),
        Seed("XML", "scoring", ".xml", _XML),
        Seed("XML entities", "scoring", ".xml", _BOMB),
        Seed("Profusion XML", "scoring", ".xml", _PROFUSION),
        Seed("JSON", "scoring", ".json", b'{"stages": [0, 1, 2, 3, 5], "epoch_s": 30}'),
        Seed("JSON table", "scoring", ".json", _JSON_TABLE),
        Seed("Dreem JSON", "scoring", ".json", b"[-1, 0, 1, 2, 3, 4]"),
        Seed("TAL", "scoring", ".tal", b"+0\x1530\x14Sleep stage W\x14\0+30\x1530\x14Sleep stage N2\x14\0"),
        Seed("demographics", "demographics", ".csv", _DEMOGRAPHICS, (("night.edf", _edf()),), name="demographics"),
        Seed("manifest", "manifest", ".jsonl", shards[MANIFEST], tuple(shards.items()), name="manifest"),
        Seed("shard", "shard", ".array_record", shards["n1.array_record"], tuple(shards.items()), name="n1"),
        Seed("embeddings", "cache", ".safetensors", shards["n1.safetensors"], tuple(shards.items()), name="n1"),
        Seed("index of them", "cache", ".json", shards["embeddings.json"], tuple(shards.items()), name="embeddings"),
        Seed("journal", "journal", ".jsonl", SOURCES, name="sources"),
        Seed("BrainVision", "recording", ".vhdr", _VHDR, (data, ("night.vmrk", _VMRK))),
        Seed("BrainVision marks", "recording", ".vmrk", _VMRK, (data, ("night.vhdr", _VHDR)), ".vhdr"),
        Seed("WFDB", "recording", ".hea", _HEA, (("night.dat", _samples(3)),)),
        Seed("FIF", "recording", ".fif", _written(write_fif)),
        Seed("GDF", "recording", ".gdf", _written(write_gdf)),
        Seed("montage", "montage", ".yaml", _MONTAGE, (("night.edf", _edf()),)),
    )


_CSV = b"""onset_s,duration_s,type
0,30,Sleep stage W
30,30,Sleep stage N2
31.5,12,"Obstructive apnea"
36,3.2,Arousal
"""
_JSON_TABLE = b"""[{"onset": 0, "duration": 30, "stage": "N2"},
{"onset": 31.5, "duration": 12, "type": "Obstructive apnea"}]"""
_PROFUSION = b"""<?xml version="1.0" encoding="UTF-8"?>
<CMPStudyConfig><EpochLength>30</EpochLength>
<ScoredEvents><ScoredEvent><Name>Hypopnea</Name><Start>31.5</Start><Duration>12</Duration><Input>Flow</Input></ScoredEvent>
</ScoredEvents><SleepStages><SleepStage>0</SleepStage><SleepStage>2</SleepStage></SleepStages></CMPStudyConfig>
"""
_DEMOGRAPHICS = b"""night_id,subject_id,site,cohort,age_years,sex,bmi,split,scored
night,p1,here,mine,41.5,F,22.5,train,stages arousal
other,p2,there,mine,60,M,,test,
"""
_XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 2 sleep|2</EventConcept><Start>0</Start>
<Duration>60.0</Duration></ScoredEvent>
<ScoredEvent><EventType>Respiratory|Respiratory</EventType><EventConcept>Hypopnea|Hypopnea</EventConcept>
<Start>31.5</Start><Duration>12.0</Duration></ScoredEvent>
</ScoredEvents></PSGAnnotation>
"""
_BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY f SYSTEM "file:///etc/hostname">]>
<CMPStudyConfig><EpochLength>30</EpochLength><ScoredEvents><ScoredEvent><Name>&c;&f;</Name><Start>1</Start>
<Duration>12</Duration></ScoredEvent></ScoredEvents><SleepStages><SleepStage>2</SleepStage></SleepStages>
</CMPStudyConfig>
"""


_VHDR = b"""Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile=night.eeg
MarkerFile=night.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=3
SamplingInterval=10000
DataPoints=4000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=C4-M1,,0.1,uV
Ch2=Thorax,,0.1,
Ch3=SpO2,,1,%
[Comment]
free
"""
_VMRK = b"""Brain Vision Data Exchange Marker File, Version 1.0
[Marker Infos]
Mk1=New Segment,,1,1,0,20200101220000000000
Mk2=Comment,Arousal,301,150,0
Mk3=New Segment,,2001,1,0,20200101220025000000
Mk4=Comment,Sleep stage N2,2001,1,0
"""
_HEA = b"""night 3 100 4000 22:31:05 01/01/2020
night.dat 16 10.0(0)/uV 16 0 0 0 0 C4-M1
night.dat 16 1/mV 16 0 0 0 0 Thorax
night.dat 16 1/% 16 0 0 0 0 SpO2
#a comment
"""
_MONTAGE = b"""reference: linked
slots:
  C4: {terms: {C4-M1: 1}, unit: uV, polarity: inverted}
  CHIN: [EMG 1, ~]
  SPO2: SpO2
side: [PPG, POSITION]
"""


def _samples(n_channels: int, n: int = 4000) -> bytes:
    """Of a file of 16 bits, channels by turns: the last one looks like SpO2."""
    samples = np.random.default_rng(1).normal(0, 50, (n, n_channels))
    samples[:, -1] = 95
    return samples.astype("<i2").tobytes()


@cache
def _written(write: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder)).read_bytes()


def _edf(*, plus: bool = True, bdf: bool = False) -> bytes:
    rng = np.random.default_rng(0)
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    signals = [
        kind(np.clip(rng.normal(mean, 5, 40 * rate_hz), *limits), rate_hz, label=label, physical_dimension=unit,
             physical_range=limits)
        for label, rate_hz, unit, mean, limits in (
            ("C4-M1", 100, "uV", 0, (-200, 200)), ("Thorax", 10, "", 0, (-50, 50)), ("SpO2", 1, "%", 95, (0, 100))
        )
    ]  # fmt: skip
    marks = [edfio.EdfAnnotation(0, 30, "Sleep stage N2"), edfio.EdfAnnotation(12.5, 4, "Arousal")]
    file = io.BytesIO()
    made = edfio.Bdf if bdf else edfio.Edf
    made(signals, annotations=marks if plus else [], data_record_duration=10).write(file)
    return file.getvalue()


def _annotations() -> bytes:
    file = io.BytesIO()
    marks = [edfio.EdfAnnotation(30 * k, 30, f"Sleep stage {stage}") for k, stage in enumerate("W123R")]
    edfio.Edf([], annotations=[*marks, edfio.EdfAnnotation(31.5, 12, "Hypopnea")]).write(file)
    return file.getvalue()


_FIXED = ((0, 8), (8, 80), (88, 80), (168, 8), (176, 8), (184, 8), (192, 44), (236, 8), (244, 8), (252, 4))
_PER_SIGNAL = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Widths of the fields of an EDF header: the fixed ones as (offset, width), then those that each signal has."""
_VALUES = (
    b"", b"0", b"-0", b"1", b"-1", b"-32768", b"32767", b"99999999", b"-9999999", b"1e309", b"9e999999", b"9e-99999",
    b"nan", b"inf", b"-inf", b"1/3", b"1/0", b"0x10", b"1_0", b"0.001", b"1e-9", b"\0" * 8, b"\xff" * 8, b"\xb2",
    b"1.2.3", b"EDF Annotations ", b"EDF+D", b"BDF+C", b"uV", b"C3", b"M2", b"2", b"3", b"40", b"10.5",
)  # fmt: skip
_STAMPS = (
    b"+0", b"-0", b"+1", b"+5e5", b"+604800", b"+86400", b"-99999", b"+0.000001", b"+" + b"9" * 300, b"+1.", b"+.5",
    b"", b"0", b"+1\x15-1", b"+1\x15" + b"9" * 310, b"+30\x15\x15", b"+20\x1530\x14Sleep stage W\x14\x00+25",
)  # fmt: skip
_TOKENS = (
    b"nan", b"inf", b"-1e308", b"1e308", b"-5", b"", b'"', b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"9" * 400,
    b"x" * 200_000, b"[" * 20_000, b"<a>" * 20_000, b"&a;", b"../../etc/passwd", b"\r", b"\n\n", b",", b";",
    b"=", b"Mk5=New Segment,,3000,1,0,20200108210000000000\n", b"0.000001", b"&a [*a]", b"<<: *a",
    b"\t", b"null", b"true", b"{}", b"[]", b"-", b"1e5", b"0", b"4", b"R", b"\xe2\x80\xa8", b"\\ud800", b"\x85",
)  # fmt: skip


_MOST_BYTES = 2_000_000


def spoil(seed: Seed, rng: random.Random) -> bytes:
    """One to three mutations of the seed's bytes; now and then none."""
    data = bytearray(seed.data)
    is_edf = seed.suffix in (".edf", ".bdf")
    own = (_header_field, _header_field, _stamp, _more_signals) if is_edf else (_token, _token, _lines)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3))):
        rng.choice((*own, *own, _bits, _cut, _block))(data, rng)
        del data[_MOST_BYTES:]
    return perhaps_sealed(bytes(data), rng) if seed.role == "manifest" else bytes(data)


def _header_field(data: bytearray, rng: random.Random) -> None:
    n_signals = max(1, min(9, (len(data) - 256) // 256))
    fields = list(_FIXED)
    at = 256
    for width in _PER_SIGNAL:
        fields += [(at + k * width, width) for k in range(n_signals)]
        at += n_signals * width
    at, width = rng.choice(fields)
    value = rng.choice(_VALUES) if rng.random() < 0.8 else str(rng.randint(-9999, 99999)).encode()
    data[at : at + width] = value[:width].ljust(width)


def _stamp(data: bytearray, rng: random.Random) -> None:
    """Another onset, duration or text at one of the time-stamped annotation lists."""
    places = [k for k in range(len(data) - 1) if data[k] in b"+-" and 48 <= data[k + 1] < 58 and k > 256]
    if places:
        at = rng.choice(places[:50])
        stamp = rng.choice(_STAMPS) + rng.choice((b"\x14\x14\x00", b"\x14", b"\x15", b"\x14x\x14\x00", b""))
        data[at : at + len(stamp)] = stamp


def _more_signals(data: bytearray, rng: random.Random) -> None:
    """The same signals many times over, in a header of the right length."""
    if not data[252:256].strip().isdigit() or len(data) < 1024:
        return
    n = min(int(data[252:256]), 9)
    times = rng.choice((2, 10, 100, 2000)) // max(n, 1) + 1
    header, at = bytearray(data[:256]), 256
    for width in _PER_SIGNAL:
        header += bytes(data[at : at + n * width]) * times
        at += n * width
    header[184:192] = str(len(header)).encode().ljust(8)
    header[252:256] = str(n * times).encode().ljust(4)[:4]
    data[:] = header + data[at:] * rng.choice((1, min(times, 20)))


def _token(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, 0, 1, 5))] = rng.choice(_TOKENS)


def _lines(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    k = rng.randrange(len(lines))
    many = [lines[k]] * min(3000, _MOST_BYTES // (len(lines[k]) + 1))
    lines[k : k + 1] = rng.choice(([], [lines[k]] * 2, many, [rng.choice(lines), lines[k]]))
    data[:] = b"\n".join(lines)


def _bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 10, 100))):
        if data:
            data[rng.randrange(len(data) if rng.random() < 0.3 else min(len(data), 1500))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _block(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data) + 1), rng.choice((1, 8, 100, 1000))
    block = bytes(data[start : start + size])
    data[start : start + rng.choice((0, size))] = rng.choice(
        (b"", b"\0" * size, b" " * size, block * 2, b"\xff" * size)
    )
