"""WFDB annotations, and the two PhysioNet cohorts that have them, from files to shards."""

import re
from pathlib import Path

import numpy as np
import pytest
import wfdb

from data_pipeline.annotations import read_scoring
from data_pipeline.annotations.wfdb import read_wfdb
from data_pipeline.cohorts import find_nights
from data_pipeline.night import RecordingError
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.epochs import night_events
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import read_manifest

RATE_HZ = 200
SIGNALS = (
    *(("uV", label) for label in ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1", "E1-M2", "Chin1-Chin2")),
    *(("uV", label) for label in ("ABD", "CHEST", "AIRFLOW")),
    ("%", "SaO2"),
    ("mV", "ECG"),
)
MARKS = (
    (0.0, "W"),
    (30.0, "N1"),
    (60.0, "N2"),
    (65.5, "(resp_obstructiveapnea"),
    (70.0, "(arousal_rera"),
    (78.0, "resp_obstructiveapnea)"),
    (85.0, "arousal_rera)"),
    (90.0, "U"),
    (100.0, "(arousal_plm"),
    (104.0, "arousal_plm)"),
    (120.0, "R"),
    (125.0, "(resp_hypopnea"),
    (140.0, "resp_hypopnea)"),
    (141.0, "(resp_cheynestokesbreath"),
    (149.0, "resp_cheynestokesbreath)"),
)


def write_annotations(folder: Path, name: str, suffix: str, marks, *, rate_hz: float = RATE_HZ, **options) -> Path:
    """Marks as (sample, text), all of them notes."""
    samples, texts = zip(*marks, strict=True)
    wfdb.wrann(
        name, suffix, np.array(samples), symbol=['"'] * len(texts), aux_note=list(texts), fs=rate_hz,
        write_dir=str(folder), **options,
    )  # fmt: skip
    return folder / f"{name}.{suffix}"


def write_night(folder: Path, name: str, marks=MARKS, seconds: int = 150) -> Path:
    """A record as the challenge has it: 13 signals in a MATLAB 4 matrix, the header's offset skipping its 24 bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    stored = rng.normal(0, 300, (seconds * RATE_HZ, len(SIGNALS))).round().astype("<i2")
    stored[:, 11] = 9600 + rng.integers(0, 100, len(stored))
    gains = {"uV": "10/uV", "%": "100/%", "mV": "1000/mV"}
    lines = [f"{name}.mat 16+24 {gains[unit]} 16 0 0 0 0 {label}" for unit, label in SIGNALS]
    (folder / f"{name}.mat").write_bytes(b"val".rjust(24, b"\0") + stored.tobytes())
    (folder / f"{name}.hea").write_text(f"{name} 13 {RATE_HZ} {len(stored)}\n" + "\n".join(lines) + "\n")
    if marks:
        write_annotations(folder, name, "arousal", [(round(s * RATE_HZ), text) for s, text in marks])
    return folder / f"{name}.hea"


# --- annotations --------------------------------------------------------------------------------------------


def test_arousal_files_have_stages_until_the_next_and_events_between_their_marks(tmp_path):
    write_night(tmp_path, "tr03-0005")
    scoring, notes = read_scoring(tmp_path / "tr03-0005.arousal", 150)
    assert scoring.stages.tolist() == [0, 1, 2, -1, 4]
    assert [(e.kind.value, e.onset_s, e.duration_s, e.source) for e in scoring.events] == [
        ("obstructive_apnea", 65.5, 12.5, "resp_obstructiveapnea"),
        ("rera", 70.0, 15.0, "arousal_rera"),
        ("arousal", 100.0, 4.0, "arousal_plm"),
        ("hypopnea", 125.0, 15.0, "resp_hypopnea"),
    ]
    assert any("1 annotation(s) with unknown terms" in note for note in notes)  # Cheyne-Stokes breathing


def test_a_mark_at_the_first_sample_counts(tmp_path):
    path = write_annotations(tmp_path, "n", "arousal", [(0, "N2"), (6000, "N3")])
    assert [(a.onset_s, a.text) for a in read_wfdb(path).annotations] == [(0.0, "N2"), (30.0, "N3")]
    assert wfdb.rdann(str(tmp_path / "n"), "arousal").aux_note == ["N3"]  # why it is not read by that package


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([(0, "W"), (200, "(resp_hypopnea")], [(0, None, "W"), (1, None, "resp_hypopnea")]),
        ([(0, "W"), (200, "resp_hypopnea)")], [(0, None, "W"), (1, None, "resp_hypopnea")]),
        (
            [(200, "(arousal_rera"), (400, "(arousal_rera"), (600, "arousal_rera)")],
            [(1, None, "arousal_rera"), (2, 1, "arousal_rera")],
        ),
        ([(0, "## no definition"), (200, "W")], [(1, None, "W")]),
    ],
    ids=["never closed", "never opened", "opened twice", "a remark that stops the wfdb package"],
)
def test_marks_without_their_other_half_are_kept_as_points(tmp_path, marks, expected):
    found = read_wfdb(write_annotations(tmp_path, "n", "arousal", marks)).annotations
    assert [(a.onset_s, a.duration_s, a.text) for a in found] == expected


def test_long_pauses_and_every_byte_agree_with_the_wfdb_package(tmp_path):
    """Gaps above 1023 samples take four bytes more; channels, numbers and subtypes stand between."""
    rng = np.random.default_rng(1)
    samples = np.cumsum(rng.choice([1, 1023, 1024, 70_000, 3_000_000], 60))
    marks = [(int(k), "W" * int(n)) for k, n in zip(samples, rng.integers(1, 9, 60), strict=True)]
    extra = {"chan": np.arange(60) % 3, "num": np.arange(60) % 5, "subtype": np.arange(60) % 2}
    path = write_annotations(tmp_path, "n", "arousal", marks, **extra)
    theirs = wfdb.rdann(str(tmp_path / "n"), "arousal")
    assert [(round(a.onset_s * RATE_HZ), a.text) for a in read_wfdb(path).annotations] == list(
        zip(theirs.sample.tolist(), theirs.aux_note, strict=True)
    )


def test_the_rate_is_the_files_or_the_headers_or_unknown(tmp_path):
    path = write_annotations(tmp_path, "n", "arousal", [(100, "W")])
    assert read_wfdb(path).annotations[0].onset_s == 0.5
    write_annotations(tmp_path, "n", "arousal", [(100, "W")], rate_hz=None)
    with pytest.raises(RecordingError, match=r"no 'n.hea' beside it"):
        read_wfdb(path)
    (tmp_path / "n.hea").write_text("n 1 50 100\nn.dat 16 1/uV 16 0 0 0 0 C4\n")
    assert read_wfdb(path).annotations[0].onset_s == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01\x58\x05", "cut inside a mark"),
        (b"\x01\x58\x09\xfcN2", "cut inside a text"),
        (b"\x02\xfcN2\x01\x58", "no WFDB annotation file"),
        (b"\x00\xec\xff\xff\x00\x00\x01\x58\x02\xfcN2\0\0", "before the record begins"),
        (bytes(1 << 24) + b"\1", "larger than 16 MB, expected the scoring of one night"),
    ],
)
def test_damaged_annotations_are_refused(tmp_path, data, message):
    path = tmp_path / "n.arousal"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=message) as error:
        read_wfdb(path)
    assert "n.arousal" in str(error.value)


def test_slpdb_marks_are_a_stage_and_the_events_of_its_30_s(tmp_path):
    marks = [
        (1, "W L"),
        (7500, "1"),
        (15000, "4 HA"),
        (22500, "R X L"),
        (37500, "MT"),
        (45000, "2 CAA LL"),
        (52500, "9 H"),
    ]
    scoring, notes = read_scoring(write_annotations(tmp_path, "slp14", "st", marks, rate_hz=250), 240)
    assert scoring.stages.tolist() == [0, 1, 3, 4, -1, -1, 2, -1]
    found = {(e.kind.value, e.onset_s, e.duration_s) for e in scoring.events}
    assert found == {
        ("limb_movement", 0, 30), ("hypopnea", 60, 30), ("arousal", 60, 30), ("obstructive_apnea", 90, 30),
        ("arousal", 90, 30), ("limb_movement", 90, 30), ("central_apnea", 180, 30), ("arousal", 180, 30),
        ("hypopnea", 210, 30),
    }  # fmt: skip
    assert any("2 annotation(s) with unknown terms" in note for note in notes)  # "LL" and "9"


# --- cohorts ------------------------------------------------------------------------------------------------


def challenge(root: Path) -> Path:
    write_night(root / "training" / "tr03-0005", "tr03-0005")
    write_night(root / "training" / "tr03-0029", "tr03-0029", marks=MARKS[:3])
    write_night(root / "test" / "te03-0001", "te03-0001", marks=None)
    (root / "age-sex.csv").write_text("Record, Age, Sex\ntr03-0005,65,m\ntr03-0029,,F\n")
    (root / "training" / "RECORDS").write_text("tr03-0005/\n")
    return root


def test_the_challenge_from_files_to_shards(tmp_path):
    root = challenge(tmp_path / "in")
    summary = prepare([root], tmp_path / "out", cohort="physionet2018")
    assert [n.night_id for n in summary.nights] == [
        "te03-0001",
        "tr03-0005",
        "tr03-0029",
    ] and not summary.rejected
    assert verify(tmp_path / "out") == []
    hidden, scored, partly = read_manifest(tmp_path / "out").nights
    assert {c.slot for c in scored.channels} == {
        "F3", "F4", "C3", "C4", "O1", "O2", "E1", "CHIN", "ECG", "THERMISTOR", "THORAX", "ABDOMEN", "SPO2",
    }  # fmt: skip
    assert scored.stages == "012?4" and scored.cohort == "physionet2018" and scored.site == "MGH"
    assert (scored.demographics.age_years, scored.demographics.sex, scored.demographics.bmi) == (
        65,
        "M",
        None,
    )
    assert (partly.demographics.age_years, partly.demographics.sex) == (None, "F")
    assert scored.event_counts == {"arousal": 1, "hypopnea": 1, "obstructive_apnea": 1, "rera": 1}
    # No event of a kind that was looked for is an answer; desaturations and apneas' own arousals were not looked for.
    assert partly.event_counts == {} and {"hypopnea", "rera", "stages"} <= set(partly.scored)
    assert not {"arousal", "desaturation", "limb_movement"} & set(scored.scored)
    assert hidden.scored == () and hidden.stages == "?????"
    shard = tmp_path / "out" / scored.shard
    events = night_events(read_epochs(open_shard(shard, 5), shard, scored.night_id, 0, 5))
    assert [(e.kind, e.onset_s) for e in events][:2] == [("obstructive_apnea", 65.5), ("rera", 70.0)]


def test_a_night_is_prepared_again_when_its_signal_file_changes(tmp_path):
    """The header alone would not tell."""
    root = tmp_path / "in"
    header = write_night(root, "tr03-0005")
    first = prepare([root], tmp_path / "out", cohort="physionet2018")
    assert prepare([root], tmp_path / "out", cohort="physionet2018").kept == 1
    data = header.with_suffix(".mat")
    data.write_bytes(data.read_bytes()[:24] + data.read_bytes()[24:][::-1])
    second = prepare([root], tmp_path / "out", cohort="physionet2018")
    assert second.kept == 0 and second.nights[0].records_sha256 != first.nights[0].records_sha256


def test_what_is_wrong_with_a_challenge_folder_is_said(tmp_path):
    root = challenge(tmp_path / "in")
    (root / "training" / "tr03-0029" / "tr03-0029.mat").write_bytes(b"short")
    summary = prepare([root], tmp_path / "out", cohort="physionet2018")
    assert [r.night_id for r in summary.rejected] == ["tr03-0029"] and "holds" in summary.rejected[0].reason
    for text, message in (
        ("Record,Age\na,1\n", "columns"),
        ("Record,Age,Sex\na,1,X\n", "line 2: columns Age and Sex"),
    ):
        (root / "age-sex.csv").write_text(text)
        with pytest.raises(ValueError, match=re.escape(message)):
            find_nights([root], "physionet2018")
    for given, message in (
        (tmp_path / "none", "no such file"),
        (tmp_path / "out", "no recording found; expected headers named"),
    ):
        with pytest.raises(ValueError, match=message):
            find_nights([given], "physionet2018")


def test_any_folder_takes_records_with_their_scoring_too(tmp_path):
    header = write_night(tmp_path, "night1")
    (source,) = find_nights([tmp_path])
    assert (source.recording, source.scoring) == (header, (header.with_suffix(".arousal"),))


def test_slpdb_people_have_two_records_and_only_stages_count_as_scored(tmp_path):
    for name, comment in (
        ("slp01a", "44 M 89 32-01-89"),
        ("slp01b", "44 M 89 32-01-89"),
        ("slp67x", "x M x x"),
    ):
        data = np.random.default_rng(2).integers(-500, 500, (250 * 90, 2))
        wfdb.wrsamp(
            name, 250, ["mV", "mV"], ["ECG", "EEG (C4-A1)"], d_signal=data, fmt=["212"] * 2, adc_gain=[400.0, 9000.0],
            baseline=[0, 0], comments=["a remark", comment], write_dir=str(tmp_path),
        )  # fmt: skip
        write_annotations(tmp_path, name, "st", [(1, "W"), (7500, "2 HA"), (15000, "2")], rate_hz=None)
    summary = prepare([tmp_path], tmp_path / "out", cohort="slpdb")
    assert [n.subject_id for n in summary.nights] == ["slp01", "slp01", "slp67x"]
    assert [n.demographics.age_years for n in summary.nights] == [44, 44, None]
    first = summary.nights[0]
    assert first.stages == "022" and first.scored == ("stages",)
    assert {c.slot for c in first.channels} == {"C4", "ECG"} and first.demographics.sex == "M"
    assert first.event_counts == {"arousal": 1, "hypopnea": 1}
