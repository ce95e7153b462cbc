"""Scoring files: every word has one meaning, time is trimmed, nothing is lost without a count."""

import os
from collections import Counter
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.annotations import merge_scorings, read_scoring, scoring_from
from data_pipeline.annotations.terms import kind_of, stage_of, stage_of_column
from data_pipeline.night import BREATHING_EVENTS, STAGES, EventKind, RecordingError
from data_pipeline.readers import Annotation

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")

W, N1, N2, N3, REM = range(5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sleep stage W", W),
        ("Sleep stage 1", N1),
        ("Sleep stage N2", N2),
        ("Sleep stage 3", N3),
        ("Sleep stage 4", N3),  # R&K
        ("Sleep stage R", REM),
        ("Sleep stage ?", -1),
        ("Movement time", -1),
        ("Stage 2 sleep|2", N2),
        ("STAGE - N3", N3),
        ("REM", REM),
        ("4", None),  # REM or R&K 4: a bare digit in running text says nothing
        ("Arousal", None),
        ("Recording starts", None),
    ],
)
def test_stage_terms(text, code):
    assert stage_of(text) == code


def test_codes_of_a_stage_column():
    assert [stage_of_column(c) for c in ("0", "1", "2", "3", "4", "5", "6", "9", "", "?", "n2", "x")] == [
        W, N1, N2, N3, N3, REM, -1, -1, -1, -1, N2, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Obstructive apnea", "obstructive_apnea"),
        ("central apnoea", "central_apnea"),
        ("APNEA-MIXED", "mixed_apnea"),
        ("Apnoea", "apnea"),
        ("HYP-O", "hypopnea"),
        ("HYP-C", "hypopnea"),
        ("Obstructive hypopnoea", "hypopnea"),
        ("Hypopnea with arousal", "hypopnea"),
        ("Respiratory effort related arousal|RERA", "rera"),
        ("Arousal (PLM)", "arousal"),
        ("Arousal resulting from periodic leg movement|Arousal (PLM)", "arousal"),
        ("micro-arousal", "arousal"),
        ("Hypopnea related arousal", "arousal"),
        ("desat", "desaturation"),
        ("SpO2 desaturation", "desaturation"),
        ("PLM", "limb_movement"),
        ("Limb movement - left", "limb_movement"),
        ("K-complex", "k_complex"),
        ("Sleep spindle", "spindle"),
        ("SpO2 artefact", "artifact"),
        ("Arousal@@EEG C4-M1", "arousal"),
        ("patient says he has apnea at home", None),
        ("Unsure", None),
        ("Lights off", None),
    ],
)
def test_event_terms(text, kind):
    assert kind_of(text) == kind


def test_an_epoch_takes_the_stage_of_most_of_it():
    marks = [(0, 20, "N1"), (20, 20, "N2"), (40, 20, "N3"), (60, 15, "R"), (75, 15, "N1")]
    scoring, _ = scoring_from([Annotation(*mark) for mark in marks], 90)
    assert scoring.stages.tolist() == [N1, N3, REM]  # the last is a tie: the one it begins with
    assert scoring.stages.dtype == np.int8 and scoring.scored == {"stages"}


def test_a_stage_without_duration_lasts_to_the_next():
    scoring, _ = scoring_from([Annotation(0, None, "W"), Annotation(60, 0.0, "N2")], 150)
    assert scoring.stages.tolist() == [W, W, N2, -1, -1]


def test_what_lies_outside_is_counted():
    marks = [
        Annotation(-5, 10, "Arousal"),
        Annotation(110, 20, "Obstructive apnea"),
        Annotation(120, 5, "Hypopnea"),
        Annotation(50, 5, "Hypopnea"),
        Annotation(50, 5, "Hypopnea"),
        Annotation(1, None, "Zebra"),
        Annotation(2, None, "Zebra"),
        Annotation(3, None, "Zebra"),
        Annotation(90, 90, "N2"),
    ]
    scoring, notes = scoring_from(marks, 120)
    assert [(e.kind, e.onset_s, e.duration_s) for e in scoring.events] == [
        ("arousal", 0, 5),
        ("hypopnea", 50, 5),
        ("obstructive_apnea", 110, 10),
    ]
    text = " ".join(notes)
    for part in ("1 event(s) outside", "2 event(s) crossing", "1 event(s) written twice", "'Zebra' (3)"):
        assert part in text
    assert "60 s of scored stages" in text and "3 of 4 epochs" in text


def test_overlapping_stages_are_counted():
    _, notes = scoring_from([Annotation(0, 60, "N2"), Annotation(30, 30, "W")], 60)
    assert "30 s have two different stages" in notes[0]


def test_what_was_looked_for():
    events = [Annotation(5, 10, "HYP-O"), Annotation(30, 5, "spindle")]
    scoring, _ = scoring_from(events, 60)
    assert scoring.scored == {*BREATHING_EVENTS, EventKind.SPINDLE}
    scoring, _ = scoring_from([], 60, scored=["arousal"])
    assert scoring.scored == {"arousal"} and scoring.stages.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="neither"):
        scoring_from([], 60, scored=["arousals"])


def test_files_are_merged():
    stages, _ = scoring_from([Annotation(0, 30, "N2"), Annotation(30, 30, "Sleep stage ?")], 60)
    other, _ = scoring_from([Annotation(0, 60, "W"), Annotation(3, 12, "Apnea")], 60)
    merged, notes = merge_scorings([stages, other])
    assert merged.stages.tolist() == [N2, W]
    assert [e.kind for e in merged.events] == ["apnea"]
    assert merged.scored == {"stages", *BREATHING_EVENTS}
    assert "1 epoch(s) differ" in notes[0]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "Onset,Duration,Description\n5,10,Central apnoea\n", [("central_apnea", 5, 10)]),
        ("a.tsv", "start\tend\tevent\n5.5\t7\tarousal\n", [("arousal", 5.5, 1.5)]),
        ("a.csv", "\ufeffonset_s; duration_s; type\n5; 1; PLM\n", [("limb_movement", 5, 1)]),
        ("n1_spindles_expert1.csv", "onset_s,duration_s\n5,1\n", [("spindle", 5, 1)]),
    ],
)
def test_tables_of_events(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    scoring, _ = read_scoring(path, 60)
    assert [(e.kind, e.onset_s, e.duration_s) for e in scoring.events] == expected


def test_a_table_may_mix_stages_and_events(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("onset_s,duration_s,event\n0,30,W\n30,30,REM\n40,12,hypopnoea\n")
    scoring, notes = read_scoring(path, 60)
    assert scoring.stages.tolist() == [W, REM] and len(scoring.events) == 1 and notes == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "when,duration\n1,2\n", "names an onset column"),
        ("a.csv", "onset,duration\n1,2\n", "says what a row is"),
        ("a.csv", "onset,duration,type\nx,2,arousal\n", "line 2: column 'onset' holds 'x'"),
        ("a.csv", "onset,duration,type\n1,-2,arousal\n", "duration -2"),
        ("a.csv", "onset,duration,type\n1,2\n", "2 cells, expected 3"),
        ("a.csv", "onset,duration,stage\n0,30,0\n30,30,4\n", "may be REM or R&K stage 4"),
        ("a.csv", "onset,duration,type\n1,2,zebra\n", "no stage and no event"),
        ("a.bin", "hello", "unknown scoring format"),
    ],
)
def test_bad_scoring_files_are_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RecordingError, match=message) as error:
        read_scoring(path, 60)
    assert name in str(error.value)


def test_dates_and_numbers_are_no_part_of_a_term():
    marks = [Annotation(10, 5, "arousal 1960-05-04 12345678"), Annotation(40, 5, "SpO2 desaturation")]
    marks += [Annotation(s, 1, "Patient John Smith calls nurse") for s in (1, 2, 3)]
    marks += [Annotation(s, 1, "Blorp") for s in (1, 2, 3)]
    scoring, notes = scoring_from(marks, 90)
    assert [e.source for e in scoring.events] == ["arousal", "SpO2 desaturation"]
    assert "'Blorp' (3)" in " ".join(notes) and "Smith" not in " ".join(notes)


def test_a_technicians_remark_stays_out_of_messages(tmp_path):
    path = tmp_path / "n.csv"
    rows = ["0,30,Sleep stage N2", "1,1,Mr John Smith wakes", *["2,3,grimace"] * 3]
    path.write_text("\n".join(["onset,duration,type", *rows]))
    (note,) = [n for n in read_scoring(path, 30)[1] if "unknown" in n]
    assert "4 annotation(s)" in note and "'grimace' (3)" in note and "Smith" not in note
    path.write_text("\n".join(["onset,duration,type", *rows[1:]]))
    with pytest.raises(RecordingError, match="no stage and no event") as error:
        read_scoring(path, 30)
    assert "Smith" not in str(error.value)


def test_a_quoted_cell_may_hold_a_line_break(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text('onset,duration,type,comment\n0,30,Sleep stage N2,"two\nlines \u2028 and more"\n')
    assert read_scoring(path, 30)[0].stages.tolist() == [N2]


def test_edfplus_in_a_file_of_its_own(tmp_path):
    path = tmp_path / "hypnogram.edf"
    marks = [
        edfio.EdfAnnotation(0, 60, "Sleep stage W"),
        edfio.EdfAnnotation(60, 30, "Sleep stage 4@@EEG C4"),
    ]
    edfio.Edf([], annotations=marks).write(path)
    scoring, notes = read_scoring(path, 90)
    assert scoring.stages.tolist() == [W, W, N3] and notes == ()


def counts(scoring) -> dict[str, int]:
    return {STAGES[c] if c >= 0 else "?": n for c, n in Counter(scoring.stages.tolist()).items()}


@needs_real
def test_real_scorings():
    real = Path(REAL)
    scoring, _ = read_scoring(real / "ucddb018/hypnogram.csv", 24_660)
    assert counts(scoring) == {"W": 328, "REM": 19, "N1": 58, "N2": 280, "N3": 137}
    scoring, _ = read_scoring(real / "ucddb018/respiratory_events.csv", 24_660)
    assert len(scoring.events) == 9 and {e.kind for e in scoring.events} == {"hypopnea"}
    for expert, n in ((1, 52), (2, 115)):
        path = real / f"dreams_spindles/excerpt1_spindles_expert{expert}.csv"
        assert len(read_scoring(path, 1800)[0].events) == n
    scoring, _ = read_scoring(real / "dreams_spindles/excerpt4_hypnogram.csv", 1800)
    assert (scoring.stages >= 0).all() and len(scoring.stages) == 60
    scoring, _ = read_scoring(real / "odd/wfdb_test_edfann.edf", 26_000)
    assert counts(scoring) == {"W": 151, "N1": 109, "N2": 430, "N3": 23, "REM": 141, "?": 12}
    edf, _ = read_scoring(real / "sleep_edf_crop/SC4001EC-Hypnogram.edf", 79_500)
    bdf, _ = read_scoring(real / "odd/edfio_SC4001EC-Hypnogram.bdf", 79_500)
    np.testing.assert_array_equal(edf.stages, bdf.stages)
    assert edf.stages[1021] == N1  # 30,630 s


def test_kinds_of_somebodys_own_are_words_or_columns(tmp_path):
    (tmp_path / "a.csv").write_text(
        "onset_s,duration_s,event\n0,5,Teeth grinding\n9,5,Snoring\n20,5,Hypopnea\n"
    )
    scoring, _ = read_scoring(tmp_path / "a.csv", 60, kinds=("snoring", "teeth_grinding"))
    assert [(e.kind, e.onset_s) for e in scoring.events] == [
        ("teeth_grinding", 0),
        ("snoring", 9),
        ("hypopnea", 20),
    ]
    assert {"snoring", "teeth_grinding"} <= scoring.scored
    without, _ = read_scoring(tmp_path / "a.csv", 60)
    assert [e.kind for e in without.events] == ["hypopnea"] and "snoring" not in without.scored
    (tmp_path / "b.csv").write_text("onset_s,duration_s,stage,snoring,apnoea\n0,30,N2,0,9\n30,30,N2,1,9\n")
    scoring, _ = read_scoring(tmp_path / "b.csv", 60, kinds=("snoring", "gasping"))
    assert [(e.kind, e.onset_s, e.duration_s) for e in scoring.events] == [("snoring", 30, 30)]
    assert scoring.scored == {"stages", "snoring"} and scoring.stages.tolist() == [N2, N2]
    (tmp_path / "c.csv").write_text("onset_s,duration_s,snoring\n0,30,0\n")
    scoring, _ = read_scoring(tmp_path / "c.csv", 60, kinds=("snoring",))
    assert scoring.events == () and scoring.scored == {"snoring"}  # looked for, and not there
    (tmp_path / "d.csv").write_text("onset_s,duration_s,snoring\n0,30,loud\n")
    with pytest.raises(RecordingError, match=r"d\.csv, line 2: column 'snoring' holds words, expected 1"):
        read_scoring(tmp_path / "d.csv", 60, kinds=("snoring",))
