"""One scoring in the forms that vendors' programs and tools write it."""

import datetime

import pytest

from data_pipeline.annotations import DIALECTS, read_scoring, recognised
from data_pipeline.night import RecordingError
from tests.support.lookalikes import scorings as look
from tests.support.scorings import write

EXPECTED = [0, 1, 2, 3, 4] * 2
APNEAS = [("obstructive_apnea", 65, 12), ("obstructive_apnea", 215, 12)]
REM_4 = dict(zip(look.STAGES, range(5), strict=False))
EPOCHS = list(enumerate(look.STAGES))
ROUND_THE_CLOCK = "".join(f"{h}:{m}0:00,W\n" for m in (0, 3) for h in range(24))
clock, lines = look.clock, look.lines


def read(path, content, seconds=300, **options):
    return read_scoring(write(path, content), seconds, start_clock="22:30:00", **options)


def found(scoring):
    return [(str(e.kind), e.onset_s, e.duration_s) for e in scoring.events]


@pytest.mark.parametrize(
    ("name", "content", "has_events"),
    [
        ("n.txt", look.remlogic(), True),
        ("n.txt", look.remlogic("."), True),
        ("n.txt", look.remlogic().encode("utf-16"), True),
        ("n.txt", look.domino(), False),
        ("n.rml", look.rml(), True),
        ("n.xml", look.embla(), True),
        ("n.annot", look.luna(), True),
        ("n.annot", look.luna(head=False), True),
        ("n.txt", look.luna(), True),
        ("n.xml", look.wonambi(), True),
        ("n.allscore.txt", look.allscore(), True),
        ("n.csv", "time;stage\n" + lines(lambda t, s: f"{clock(t)};{s}"), False),
        ("n.csv", "Start Time,Duration (seconds),Event\n" + lines(lambda t, s: f"{clock(t)},30,{s}"), False),
        ("n.csv", "start,end,event\n" + lines(lambda t, s: f"{clock(t)},{clock(t + 30)},{s}"), False),
        ("n.csv", "onset,stage\n" + lines(lambda t, s: f"{clock(t, '%Y-%m-%dT%H:%M:%S')},{s}"), False),
        ("n.csv", "Time,Event\n" + lines(lambda t, s: f"{clock(t, '%m/%d/%Y %I:%M:%S %p')},{s}"), False),
        ("n.csv", "Date;Time;Stage\n" + lines(lambda t, s: f"{clock(t, '%d.%m.%y;%H.%M.%S')};{s}"), False),
        ("n.csv", "onset;duration;stage\n" + lines(lambda t, s: f"{t},0;30,0;{s}"), False),
        ("n.csv", ("onset\tduration\tstage\n" + lines(lambda t, s: f"{t}\t30\t{s}")).encode("utf-16"), False),
        ("n.csv", ("Dauer;Stadium;Zeit;Ort\n" + lines(lambda t, s: f"30;{s};{t};Köln")).encode("cp1252"), False),
        ("n.csv", "Patient: X\nDate: 2020-01-01\n\nonset_s,stage\n" + lines(lambda t, s: f"{t},{s}"), False),
        ("n.csv", "Epoch,Stage,Confidence\n" + lines(lambda t, s: f"{t // 30},{s},0.9"), False),
        ("n.csv", "Epoch,Stage\n" + lines(lambda t, s: f"{t // 30 + 1},{s}"), False),
        ("n.csv", "Start (ms);Duration (ms);Stage\n" + lines(lambda t, s: f"{t * 1000};30000;{s}"), False),
        ("n.csv", "start;stage\n" + lines(lambda t, s: f"0:{t // 60:02}:{t % 60:02};{s}"), False),
        ("n.tsv", "onset\tduration\ttrial_type\n" + lines(lambda t, s: f"{t}\tn/a\t{s}"), False),
        ("n.tsv", "onset\toffset\tstage_hum\tstage_ai\n" + lines(lambda t, s: f"{t}\t0\t{REM_4[s]}\t2"), False),
        ("n.csv", "stage\n" + lines(lambda t, s: s), False),
        ("n.txt", lines(lambda t, s: s), False),
        ("n.eannot", lines(lambda t, s: s), False),
        ("n.txt", lines(lambda t, s: f"Sleep stage {s}"), False),
        ("n.sta", lines(lambda t, s: f"{dict(W=0, N1=1, N2=2, N3=3, REM=5)[s]} {t % 60 // 30}"), False),
        ("n.txt", lines(lambda t, s: f"{t // 30 + 1}\t{s}"), False),
        ("n.txt", lines(lambda t, s: f"{s} {t}"), False),
        ("n.txt", lines(lambda t, s: f"{clock(t)};{s}"), False),
        ("n.hyp", "EPOCH=30.0S\n" + lines(lambda t, s: s), False),
        ("n.txt", lines(lambda t, s: f"{t // 30 + 1};{clock(t)};{s};0.98"), False),
        ("n.txt", "onset duration stage\n" + lines(lambda t, s: f"{t}  30  Sleep stage {s}"), False),
        ("n.txt", "# MNE-Annotations\n# onset, duration, text\n" + lines(lambda t, s: f"{t}.0, 30.0, {s}"), False),
        ("hypnogram.ids", lines(lambda t, s: f"{t},30,{s}"), False),
        ("n.txt", "*Duration_sec 300\n*Datafile x\n" + lines(lambda t, s: f"{s}\t{t + 30.0}"), False),
        ("n.xlsx", look.xlsx([["Doe"], [], ["Onset", "Stage"], *([30 * k, s] for k, s in EPOCHS)]), False),
    ],
)  # fmt: skip
def test_the_same_scoring_in_many_forms(tmp_path, name, content, has_events):
    scoring, notes = read(tmp_path / name, content)
    assert scoring.stages.tolist() == EXPECTED and notes == ()
    assert found(scoring) == (APNEAS if has_events else [])
    assert recognised(tmp_path / name)


def test_events_of_domino_and_bdsp(tmp_path):
    assert found(read(tmp_path / "n.txt", look.domino("Impuls"))[0]) == APNEAS
    rows = [f"3,{clock(t)},{d},RespEvent - ObstructiveApnea - 1\n" for t, d in look.APNEAS]
    stages = lines(lambda t, s: f"{t // 30 + 1},{clock(t)},30,Sleep_stage_{s}")
    scoring, _ = read(tmp_path / "n.csv", "epoch,time,duration,event\n" + stages + "".join(rows))
    assert scoring.stages.tolist() == EXPECTED and found(scoring) == APNEAS


def test_phrases_say_what_an_event_is_and_how_long(tmp_path):
    rows = [
        f"{clock(t)},,{mark}Respiratory Event - DUR: {d}.0 SEC. - Obstructive Apnea - Desat 91.6 %\n"
        for (t, d), mark in zip(look.APNEAS, ("", "* "), strict=True)
    ]
    rows += [f"{clock(100)},,AROUSAL - DUR: 3.5 SEC. - SPONTANEOUS\n"]
    scoring, _ = read(tmp_path / "n.csv", "time,duration,event\n" + "".join(rows))
    assert found(scoring) == sorted([*APNEAS, ("arousal", 100, 3.5)], key=lambda e: e[1])


def test_a_unit_in_the_heading_counts_for_events_too(tmp_path):
    text = "Start (ms);Duration (min);Event\n65000;0,2;Obstructive apnea\n215000;0,2;Obstructive apnea\n"
    assert found(read(tmp_path / "n.csv", text)[0]) == APNEAS


def test_samples_are_counted_where_stages_fill_the_night(tmp_path):
    table = "Onset (samples),Duration (samples),Stage\n" + lines(lambda t, s: f"{t * 256},7680,{s}")
    scoring, notes = read(tmp_path / "n.csv", table)
    assert scoring.stages.tolist() == EXPECTED and "samples at 256 Hz" in notes[0]


def test_artifacts_of_domino_are_no_stage(tmp_path):
    scoring, notes = read(tmp_path / "n.txt", look.domino().replace("22:30:00,000; Wake", "22:30:00,000; A"))
    assert scoring.stages.tolist() == [-1, *EXPECTED[1:]] and notes == ("n.txt: 1 of 10 epochs have no known stage.",)


def test_a_clock_that_starts_later_moves_the_scoring(tmp_path):
    late = look.rml("1985-01-01T22:31:00")
    scoring, _ = read_scoring(write(tmp_path / "n.rml", late), 360, start_clock="22:30:00")
    assert scoring.stages.tolist() == [-1, -1, *EXPECTED]
    assert [e.onset_s for e in scoring.events] == [125, 275]


def test_marks_of_the_clock_say_when_they_begin(tmp_path):
    for name, content in (("n.xml", look.embla()), ("n.xml", look.wonambi()), ("n.rml", look.rml())):
        path = write(tmp_path / name, content)
        dialect = {"<Ev": "embla_xml", "<an": "wonambi_xml"}.get(content.split("?>")[-1][:3], "alice_rml")
        marks = DIALECTS[dialect](path)
        assert (marks.clock, marks.day) == (datetime.time(22, 30), datetime.date(1985, 1, 1))


def test_pauses_of_twin_are_left_out(tmp_path):
    text = (
        look.allscore() + f"{clock(300)}.00\tPAUSED\n{clock(900)}.00\tRECORDING RESUMED\n{clock(900)}.00\tSTAGE - N2\n"
    )
    assert read(tmp_path / "n.txt", text, 330)[0].stages.tolist() == [*EXPECTED, 2]


def test_epochs_with_lights_on_say_when_they_went_off(tmp_path):
    path = write(tmp_path / "n.csv", "Epoch,Stage\n1,L\n2,L\n3,W\n4,L\n5,N2\n6,L\n")
    assert DIALECTS["table"](path).lights_s == (60, 150)
    assert DIALECTS["table"](write(path, "Epoch,Stage\n1,W\n2,N2\n")).lights_s == (None, None)


def test_luna_counts_time_in_five_ways(tmp_path):
    text = "W\t.\t0\t30\nN1\t.\te:2\t.\nN2\t.\t0+00:01:00\t...\nN3\t.\t90\t+30\nR\t.\te:7:20\te:8:20\n"
    assert read(tmp_path / "n.annot", text, 160)[0].stages.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.txt", look.domino("Analog"), "export of a curve"),
        ("n.txt", look.domino().replace("Rate: 30 s", "Rate:"), "how long an epoch is"),
        ("n.txt", look.domino().replace("22:31:00,000; N2", "Doe Jane"), "line 10: not as DOMINO writes it"),
        ("n.rml", look.rml().replace('Start="65"', 'Start="Doe"'), "<Event> 1 has no Start"),
        ("n.rml", look.rml().replace("</Sessions>", "<Session/></Sessions>"), "scores 2 sessions"),
        ("n.xml", look.embla().replace("1985-01-01T22:30:00.000000", "soon"), "<Event> 1 has no <Type>"),
        ("n.xml", look.embla().replace("1985-01-01T22:31:05", "1985-03-01T22:31:05"), "before it begins|a week apart"),
        ("n.xml", look.wonambi().replace("</rater>", "</rater><rater><stages><epoch/></stages></rater>"), "2 raters"),
        ("n.xml", "<Doe><Jane/></Doe>", "another root element"),
        ("n.annot", "W\t0\t30\n\nN1 30\n", "line 3: 2 columns, expected 6, 4 or 3"),
        ("n.annot", "W\t0\t30\nN1\t22:30:30\t+30\n", "some lines have clock times"),
        ("n.allscore.txt", look.allscore().replace("START RECORDING", "x"), "0 lines say START RECORDING"),
        ("n.csv", "Onset (samples),Event\n1,Hypopnea\n", "counts samples"),
        ("n.csv", "Epoch,Stage\n7,W\n8,W\n", "epochs from 7 on"),
        ("n.csv", "time,event\n22:30:00,Arousal\nsoon,Arousal\n", "line 3: column 'time' holds no time"),
        ("n.csv", "time,event\n9:10:00,W\n" + ROUND_THE_CLOCK, "in no order"),
        ("n.txt", "Patient was restless\nsee notes\n", "names an onset column"),
        ("n.hyp", "EPOCH=20.0S\nW\nN1\n", "unknown scoring format"),
        ("n.sta", "W\nN1\nthe patient called at 3\n", "unknown scoring format"),
        ("n.xlsx", b"PK\x03\x04 no archive", "damaged workbook"),
    ],
)  # fmt: skip
def test_what_is_half_understood_is_refused(tmp_path, name, content, message):
    with pytest.raises(RecordingError, match=message) as error:
        read(tmp_path / name, content)
    assert "Doe" not in error.value.problem


@pytest.mark.parametrize("content", ["Mr Doe slept badly.\n", b"\x89PNG\r\n\x1a\n\0\0", "0;61\n1;60\n2;62\n", ""])
def test_notes_and_pictures_are_no_scorings(tmp_path, content):
    assert not recognised(write(tmp_path / "n.txt", content))
