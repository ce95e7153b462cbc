"""Tables of stages and events."""

import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.night import RecordingError

W, N1, N2, N3, REM = range(5)


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
        ("a.csv", "onset,duration,type\nx,2,arousal\n", "line 2: column 'onset' holds no number"),
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


def test_a_technicians_remark_stays_out_of_messages(tmp_path):
    path = tmp_path / "n.csv"
    rows = ["0,30,Sleep stage N2", "1,1,Mr John Smith wakes", *["2,3,grimace"] * 3]
    path.write_text("\n".join(["onset,duration,type", *rows]))
    (note,) = [n for n in read_scoring(path, 30)[1] if "unknown" in n]
    assert "4 annotation(s)" in note and "grimace" not in note and "Smith" not in note
    path.write_text("\n".join(["onset,duration,type", *rows[1:]]))
    with pytest.raises(RecordingError, match="no stage and no event") as error:
        read_scoring(path, 30)
    assert "Smith" not in str(error.value)


def test_a_quoted_cell_may_hold_a_line_break(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text('onset,duration,type,comment\n0,30,Sleep stage N2,"two\nlines \u2028 and more"\n')
    assert read_scoring(path, 30)[0].stages.tolist() == [N2]


def test_kinds_of_somebodys_own_are_words_or_columns(tmp_path):
    (tmp_path / "a.csv").write_text("onset_s,duration_s,event\n0,5,Teeth grinding\n9,5,Snoring\n20,5,Hypopnea\n")
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
    with pytest.raises(RecordingError, match=r"d\.csv: line 2: column 'snoring' holds words, expected 1"):
        read_scoring(tmp_path / "d.csv", 60, kinds=("snoring",))


def test_a_comma_may_part_thousands(tmp_path):
    path = tmp_path / "n.csv"
    rows = [f'"{30 * place:,}",30,{"W" if place < 38 else "N2"}\n' for place in range(40)]
    path.write_text("onset_s,duration_s,stage\n" + "".join(rows))
    assert read_scoring(path, 1200)[0].stages.tolist() == [W] * 38 + [N2] * 2
    path.write_text("onset_s;duration_s;stage\n0,000;30;W\n30,000;30;N2\n")
    assert read_scoring(path, 60)[0].stages.tolist() == [W, N2]
