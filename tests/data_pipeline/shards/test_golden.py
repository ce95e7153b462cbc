"""What stands in a shard stays what it was: folders that were prepared long ago go on being read, and kept.

Filters are sums of floats and differ in the last digit from one processor to the next, so a recording is compared with
a stored answer to a few steps of its int16. What holds no filter, the codec and the flags, is compared to the byte.
`python tests/data_pipeline/shards/test_golden.py` writes the answer anew; it is to be done where a rule was changed
on purpose, together with `prepare.run.PREPARATION`.
"""

import hashlib
import json
import struct
import tempfile
from pathlib import Path

import edfio
import numpy as np
import zstandard

from data_pipeline.modalities import Modality
from data_pipeline.night import Event, EventKind
from data_pipeline.prepare.run import prepare
from data_pipeline.shards.epochs import Epoch, PackedSignals
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.records import encode_epoch

ANSWER = Path(__file__).with_name("golden.json")
SECONDS, EVERY = 150, 601  # a prime, so that the samples kept fall everywhere in a second
STEPS = 3

LABELS = (  # label, rate, unit, half the range
    *((f"EEG {name}", 256, "uV", 400) for name in ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2")),
    ("O2", 200, "mV", 0.4),
    ("M1", 200, "mV", 0.4),
    ("E1-M2", 200, "uV", 400),  # with 50 Hz mains
    ("E2-M2", 100, "uV", 400),
    ("Chin 1-Chin 2", 512, "uV", 300),
    ("Leg/L", 256, "n/a", 300),
    ("EMG RAT", 499.5, "uV", 300),
    ("ECG II", 256, "mV", 3),
    ("Airflow", 32, "", 1),
    ("NasalP", 64, "", 1),
    ("Thorax", 10, "", 1),
    ("ABDO EFFORT", 16, "", 1),
)


def write_recording(path: Path) -> Path:
    """Whole numbers from a generator of whole numbers: the same file on any machine."""
    rng = np.random.default_rng(1)
    signals = []
    for k, (label, rate_hz, unit, half_range) in enumerate(LABELS):
        n = round(SECONDS * rate_hz)
        digital = 40 * rng.integers(-80, 81, n)  # hiss
        digital += np.repeat(rng.integers(-3000, 3001, n // 20 + 1), 20)[:n]  # and steps
        digital[: n // 2] += np.tile([0, 900, 0, -900], n)[: n // 2]  # a line at a quarter of the rate
        second = round(rate_hz)
        digital[40 * second : (42 + 4 * (k % 2)) * second] = 7  # flat
        digital[60 * second : 61 * second] = 32767  # clipped
        signals.append(
            edfio.EdfSignal.from_digital(
                digital.astype(np.int16),
                rate_hz,
                label=label,
                physical_dimension=unit,
                physical_range=(-half_range, half_range),
                digital_range=(-32767, 32767),
            )
        )
    spo2 = np.repeat(rng.integers(880, 990, SECONDS // 10), 10)
    spo2[70:75], spo2[90] = 0, 1023
    signals.append(
        edfio.EdfSignal.from_digital(
            spo2.astype(np.int16),
            1,
            label="SaO2",
            physical_dimension="%",
            physical_range=(0, 102.3),
            digital_range=(0, 1023),
        )
    )
    edfio.Edf(signals, data_record_duration=2).write(path)
    return path


def prepared(folder: Path) -> dict:
    """What a prepared folder says of the recording, and one in `EVERY` of its samples."""
    (folder / "in").mkdir()
    write_recording(folder / "in" / "n.edf")
    prepare([folder / "in"], folder / "out")
    manifest = read_manifest(folder / "out")
    (night,) = manifest.nights
    path = folder / "out" / night.shard
    epochs = read_epochs(open_shard(path, night.n_epochs), path, night.night_id, 0, night.n_epochs)
    channels = {}
    for c in night.channels:
        signals = [s for e in epochs for s in e.signals if s.modality is c.modality]
        row = signals[0].slots.index(c.slot)
        samples = np.concatenate([s.physical()[row] for s in signals])[::EVERY]
        quality = np.concatenate([s.quality[row] for s in signals])
        channels[c.slot] = {
            "label": c.label,
            "reason": c.reason,
            "source_rate_hz": c.source_rate_hz,
            "median": c.median,
            "iqr": c.iqr,
            "scale": c.scale,
            "offset": c.offset,
            "samples": [float(f"{x:.6g}") for x in samples],
            "quality": quality.tolist(),
        }
    return {"settings_sha256": manifest.config_sha256, "notes": list(night.notes), "channels": channels}


def test_a_recording_is_prepared_as_ever(tmp_path):
    made, answer = prepared(tmp_path), json.loads(ANSWER.read_text())
    assert made["settings_sha256"] == answer["settings_sha256"] and made["notes"] == answer["notes"]
    assert list(made["channels"]) == list(answer["channels"])  # and in that order
    for slot, channel in made["channels"].items():
        expected = answer["channels"][slot]
        step = expected["scale"]
        for name in ("label", "reason", "source_rate_hz", "quality"):
            assert channel[name] == expected[name], (slot, name)
        assert np.isclose(channel["scale"], step, rtol=1e-4), slot
        for name in ("median", "iqr", "offset", "samples"):
            assert np.allclose(channel[name], expected[name], rtol=0, atol=STEPS * step), (slot, name)


def fixed_epoch() -> Epoch:
    rng = np.random.default_rng(2)

    def signals(modality, slots, rate_hz, offset):
        samples = rng.integers(-32767, 32768, (len(slots), 30 * rate_hz)).astype(np.int16)
        quality = rng.integers(0, 128, (len(slots), 30)).astype(np.uint8)
        scale = np.array([0.125 * (k + 1) for k in range(len(slots))])
        return PackedSignals(modality, slots, scale, np.full(len(slots), offset), samples, quality)

    return Epoch(
        night_id="n",
        index=3,
        n_epochs=7,
        stage=2,
        signals=(
            signals(Modality.EEG, ("F3", "C4"), 128, 0.0),
            signals(Modality.EMG, ("CHIN",), 128, -1.5),
            signals(Modality.RESP, ("THORAX", "ABDOMEN"), 32, 0.5),
            signals(Modality.SPO2, ("SPO2",), 1, 50.0),
        ),
        events=(Event(EventKind.HYPOPNEA, -4.25, 30.5, "Hypopnea", "1A"),),
        scored=frozenset({"stages", "hypopnea"}),
    )


def test_a_record_has_the_bytes_it_ever_had():
    record = encode_epoch(fixed_epoch())
    magic, version, shared, own, high, _ = struct.unpack_from("<4sHIIII", record)
    body = record[22:]
    headers, frame, rest = body[: shared + own], body[shared + own :][:high], body[shared + own + high :]
    # What Zstandard makes of the high bytes is its own affair and that of its version.
    parts = (magic, struct.pack("<HII", version, shared, own), headers, zstandard.decompress(frame), rest)
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    assert digest == "760e5e296066937913c4938e0f3b248ae301403ccc1c0ddeb1b2a1f129589c87"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        ANSWER.write_text(json.dumps(prepared(Path(folder)), separators=(",", ":")) + "\n")
