"""Marks become a scoring: time is trimmed, nothing is lost without a count."""

import re

import numpy as np
import pytest

from data_pipeline.annotations import merge_scorings, scoring_from
from data_pipeline.night import BREATHING_EVENTS, EventKind
from data_pipeline.readers import Annotation

W, N1, N2, N3, REM = range(5)


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
    for part in (
        "1 event(s) outside",
        "2 event(s) crossing",
        "1 event(s) written twice",
        "3 annotation(s) with unknown",
    ):
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


def test_dates_and_numbers_are_no_part_of_a_term():
    marks = [Annotation(10, 5, "arousal 1960-05-04 12345678"), Annotation(40, 5, "SpO2 desaturation")]
    marks += [Annotation(s, 1, "Patient John Smith calls nurse") for s in (1, 2, 3)]
    marks += [Annotation(s, 1, "Blorp") for s in (1, 2, 3)]
    scoring, notes = scoring_from(marks, 90)
    assert [e.source for e in scoring.events] == ["arousal", "SpO2 desaturation"]
    assert "6 annotation(s) with unknown terms" in " ".join(notes)
    assert not {"Blorp", "Smith"} & set(re.findall(r"\w+", " ".join(notes)))  # typed thrice, it may still be a name


@pytest.mark.parametrize(
    ("marks", "lights_s"),
    [
        ([(600, "Lights off"), (3000, "Lights on")], (600, 3000)),
        ([(600, "Licht aus"), (3000, "Licht an")], (600, 3000)),
        ([(600, "消灯"), (3000, "点灯")], (600, 3000)),
        (
            [(10, "Lights on"), (600, "LightsOff"), (900, "Lights ON"), (960, "lights out"), (3000, "lights on")],
            (600, 3000),
        ),
        ([(600, "Luces apagadas 23:10")], (600, None)),
        ([(10, "Lights on"), (600, "Lights off")], (600, None)),
        ([(3000, "Lumières allumées")], (None, 3000)),
        ([(10, "Lights on")], (None, None)),
        ([(9000, "Lights on")], (None, None)),
        ([(30, "Lights dimmed"), (60, "Light sleep")], (None, None)),
    ],
)
def test_lights_off_and_on_are_read_from_marks(marks, lights_s):
    scoring, notes = scoring_from([Annotation(s, None, text) for s, text in marks], 3600)
    assert scoring.lights_s == lights_s
    assert any("lights off or on" in note for note in notes) == (marks in ([(9000, "Lights on")], [(10, "Lights on")]))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("CPAP on", True),
        ("Start CPAP", True),
        ("BiPAP started", True),
        ("start of titration", True),
        ("Split night start", True),
        ("CPAP 8 cmH2O", False),
        ("CPAP off", False),
        ("CPAP mask fitted, patient awake", False),
    ],
)
def test_where_positive_pressure_begins(text, begins):
    marks = [Annotation(0, 30, "Sleep stage N2"), *(Annotation(s, None, text) for s in (600, 900, 9000))]
    scoring, notes = scoring_from(marks, 3600)
    assert scoring.cpap_from_s == (600 if begins else None)
    assert not any("unknown terms" in note for note in notes)
    merged, _ = merge_scorings([scoring_from([], 3600)[0], scoring])
    assert merged.cpap_from_s == scoring.cpap_from_s


def test_lights_that_a_file_says_go_first():
    marks = [Annotation(600.0, None, "Lights off")]
    assert scoring_from(marks, 3600, lights_s=(300.0, None))[0].lights_s == (300.0, None)
    assert scoring_from([], 3600, lights_s=(900.0, 300.0))[0].lights_s == (None, None)
    merged, _ = merge_scorings([scoring_from(marks, 3600)[0], scoring_from([], 3600, lights_s=(5.0, 3000.0))[0]])
    assert merged.lights_s == (600.0, 3000.0)
