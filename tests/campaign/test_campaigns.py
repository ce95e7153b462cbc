"""A short slice of each campaign of `make campaign`, and what the fuzzer has found, one test a finding."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import edfio
import numpy as np
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.cohorts import look
from data_pipeline.load import load_night
from data_pipeline.night import RecordingError
from data_pipeline.readers import open_recording
from data_pipeline.shards.manifest import read_manifest
from tests.campaign import fuzz
from tests.campaign.fuzz import campaign
from tests.campaign.scale import growth, write_nights
from tests.support.nights import write_recordings


def test_500_spoiled_files_are_read_or_refused():
    outcomes = Counter(outcome for _, outcome in campaign(500, 7, partial(fuzz.work, None)))
    assert set(outcomes) == {"read", "refused"} and outcomes.total() == 500 and outcomes["read"] > 100


def test_60_spoiled_model_folders_are_loaded_as_they_were_or_refused(tmp_path):
    pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
    from tests.campaign import model_folders
    from tests.support.twins import tiny_folder, write_unmeasured

    model_folders.write_seeds(tmp_path / "seeds", tiny_folder(), write_unmeasured(tiny_folder(), tmp_path / "exported"))
    cases = campaign(60, 3, partial(model_folders.work, tmp_path / "seeds"), model_folders.LONGEST_S)
    said = [outcome for _, outcome in cases]
    assert len(said) == 60 and all(re.fullmatch(r"\w+: (\w+ (same|as sealed|refused)(, )?)+", one) for one in said), (
        said
    )
    assert any("same" in one for one in said) and sum("refused" in one for one in said) > 30


def test_a_run_killed_before_any_of_its_operations_ends_in_the_same_bytes():
    command = [sys.executable, "-m", "tests.campaign.kill", "--moments", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the same bytes" in done.stdout


def test_training_runs_that_are_killed_ten_times_end_in_the_same_bytes():
    command = [sys.executable, "-m", "tests.campaign.kill_training", "--kills", "10", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "10 kills" in done.stdout and "the same arrays" in done.stdout


def test_the_scaling_check_runs(tmp_path):
    times = growth(write_nights(tmp_path / "in", 30), tmp_path / "out", workers=1)
    assert len(times) == 10 and times == sorted(times)


def test_workers_end_with_the_run_that_was_killed(tmp_path):
    write_recordings(tmp_path / "in", [1])
    script = (
        "from pathlib import Path; from data_pipeline.prepare.run import prepare\n"
        "from tests.support.loaders import waits\n"
        f"if __name__ == '__main__': prepare([Path({str(tmp_path / 'in')!r})], Path({str(tmp_path / 'out')!r}), "
        "workers=2, load=waits)"
    )
    (tmp_path / "run.py").write_text(script)
    run = subprocess.Popen([sys.executable, tmp_path / "run.py"], env=os.environ | {"PYTHONPATH": os.getcwd()})
    until = time.monotonic() + 30
    while len(pids := list((tmp_path / "in").glob("*.pid"))) < 1 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(pid.read_text()) for pid in pids]
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert len(workers) == 1
    while (left := [pid for pid in workers if is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------------------------------- findings


def edf(path, *, labels=("C4-M1",), seconds=40, rate_hz=10, at=None, value=b"", discontinuous=()):
    """A small EDF+ with a field overwritten, or with other time stamps of its records."""
    signals = [
        edfio.EdfSignal(
            np.sin(np.arange(seconds * rate_hz) + k) * (k + 1),
            rate_hz,
            label=f"S{k}",
            physical_dimension="uV",
        )
        for k in range(len(labels))
    ]
    file = io.BytesIO()
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(1, 2, "Arousal")], data_record_duration=10).write(file)
    data = bytearray(file.getvalue())
    for k, label in enumerate(labels):
        data[256 + 16 * k : 272 + 16 * k] = label.encode().ljust(16)
    if at is not None:
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (244, b"1e309   ", "'duration of a data record' holds '1e309'|days long"),
        (244, b"9e999999", "'duration of a data record' holds '9e999999'"),  # a number of a million digits
        (244, b"9e999   ", "days long"),
        (244, b"1e-9    ", "1e-9 s, expected more than 0"),
        (244, b"10    \xa0", r"holds '10    \\xa0'"),  # int() takes a no-break space, edfio does not
        (252, b"2  \x85", "'number of signals' holds"),
        (236, b"1_0     ", "'number of data records' holds '1_0'"),
    ],
)
def test_header_numbers_are_plain_and_within_bounds(tmp_path, at, value, message):
    with pytest.raises(RecordingError, match=message):
        open_recording(edf(tmp_path / "n.edf", at=at, value=value))


@pytest.mark.parametrize("label", ["BDF Annotations", " EDF Annotations"])
def test_a_signal_with_almost_the_label_of_annotations_shifts_no_other(tmp_path, label):
    recording = open_recording(edf(tmp_path / "n.edf", labels=("F3-M2", label, "C4-M1")))
    assert [s.label for s in recording.signals] == ["F3-M2", label.strip(), "C4-M1"]
    assert [round(float(np.abs(recording.read(k)).max())) for k in range(3)] == [1, 2, 3]


def test_a_small_file_cannot_claim_a_gap_that_fills_the_memory(tmp_path):
    path = edf(tmp_path / "n.edf", seconds=20, rate_hz=1000)
    data = path.read_bytes().replace(b"EDF+C", b"EDF+D", 1)
    path.write_bytes(data.replace(b"+10\x14\x14\0\0\0", b"+99999\x14\x14", 1))
    with pytest.raises(RecordingError, match=r"n\.edf: channel 1: 99989 s are missing"):
        load_night(path)


def test_annotations_at_absurd_times_lie_outside(tmp_path):
    file = io.BytesIO()
    edfio.Edf([], annotations=[edfio.EdfAnnotation(1, 2, "x" * 700)]).write(file)
    digits = b"9" * 310  # infinite as a float
    stamp = b"+" + digits + b"\x15" + digits + b"\x14Sleep stage W\x14\x00"
    data = file.getvalue()
    at = data.index(b"+1\x152\x14")
    (tmp_path / "h.edf").write_bytes(data[:at] + stamp + b"\0" * 80 + data[at + len(stamp) + 80 :])
    with pytest.raises(RecordingError, match=r"its stages end 1e\+09 s after the recording, which is 60 s long"):
        read_scoring(tmp_path / "h.edf", 60)


def test_a_channel_without_samples_is_named_and_left_out(tmp_path):
    signals = [
        edfio.EdfSignal(np.sin(np.arange(400.0)), 10, label=label, physical_dimension="uV")
        for label in ("Thorax", "SpO2")
    ]
    edfio.Edf(signals, data_record_duration=10).write(tmp_path / "n.edf")
    data = bytearray((tmp_path / "n.edf").read_bytes())
    data[256 + 2 * 216 + 8 : 256 + 2 * 216 + 16] = b"0       "  # samples of SpO2 in a data record
    (tmp_path / "n.edf").write_bytes(data[: 768 + 4 * 200])
    night = load_night(tmp_path / "n.edf")
    assert [c.slot for c in night.channels] == ["THORAX"]
    assert "'SpO2' is not used: it has no samples." in night.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"onset_s,duration_s,type\n0,30," + b"x" * 200_000, r"n\.csv: not a table \(field larger"),
        (b"onset_s,duration_s,type\n1e308,1e308,Sleep stage W\n", "holds no number, expected seconds"),
        (b" " * (2**26 + 1), "larger than .* MB"),
    ],
)
def test_tables_of_scoring_have_bounds(tmp_path, content, message):
    (tmp_path / "n.csv").write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        read_scoring(tmp_path / "n.csv", 60)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"night_id,sex\nn1,\xff\n", "demographics.csv, line 2: column sex: expected F or M; taken as unknown"),
        (b"night_id,sex\nn1," + b"x" * 200_000, "demographics.csv: not used: no table with a header row"),
        (b"\x00\xff\x13" * 999, "demographics.csv: not used: not text"),
    ],
)
def test_a_demographics_file_that_is_no_table_is_named_and_costs_no_night(tmp_path, content, said):
    write_recordings(tmp_path, [1])
    (tmp_path / "demographics.csv").write_bytes(content)
    found = look([tmp_path])
    assert [source.night_id for source in found.sources] == ["n1"] and found.remarks[0].startswith(said)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{\xff}\n"])
def test_a_manifest_that_is_nested_without_end_or_no_text_is_named(tmp_path, content):
    (tmp_path / "manifest.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.jsonl.*damaged"):
        read_manifest(tmp_path)
