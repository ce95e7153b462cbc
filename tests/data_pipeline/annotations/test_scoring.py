"""Marks become a scoring: time is trimmed, nothing is lost without a count."""

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


def test_dates_and_numbers_are_no_part_of_a_term():
    marks = [Annotation(10, 5, "arousal 1960-05-04 12345678"), Annotation(40, 5, "SpO2 desaturation")]
    marks += [Annotation(s, 1, "Patient John Smith calls nurse") for s in (1, 2, 3)]
    marks += [Annotation(s, 1, "Blorp") for s in (1, 2, 3)]
    scoring, notes = scoring_from(marks, 90)
    assert [e.source for e in scoring.events] == ["arousal", "SpO2 desaturation"]
    assert "'Blorp' (3)" in " ".join(notes) and "Smith" not in " ".join(notes)
