"""A user's table: what is read of it, and what is said of one that cannot be read."""

import pytest

from sleepmami_jax.evaluation.outcomes import read_outcomes

TABLE = """subject_id;stroke_time;stroke_event;moca;diabetes
S-01;3,5;1;26;0
S-02;8;0;;1
S-03;;;29;1
"""


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "outcomes.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_outcomes(path)

    return of


def test_columns_are_what_their_names_and_values_say(read):
    found = read(TABLE)
    assert found.risks == {"stroke": {"s_1": (3.5, True), "s_2": (8.0, False)}}
    assert found.numbers == {"moca": {"s_1": 26.0, "s_3": 29.0}}
    assert found.yes_or_no == {"diabetes": {"s_1": 0.0, "s_2": 1.0, "s_3": 1.0}}


def test_people_are_matched_as_cohorts_match_them_and_rows_of_nobody_are_named(read):
    table = read(TABLE)
    people, remarks = table.match(["s_001", "S4"])
    assert people == {"s_001": "s_1"}
    assert remarks == ["outcomes.csv: 2 of 3 rows are nobody's: line 3, 4", "outcomes.csv: no row of 1 of 2 people"]
    with pytest.raises(ValueError, match="line 2: two people of these nights have this subject_id"):
        table.match(["S-01", "s 1"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,5", "secret", "line 2, column stroke_time: expected a number, or an empty cell"),
        ("3,5", "inf", "line 2, column stroke_time: expected a number"),
        ("3,5", "-1", "line 2, column stroke_time: expected a time above 0"),
        ("8;0", "8;2", "line 3, column stroke_event: expected 1 or 0"),
        ("8;0", "8;", "line 3, column stroke_event: expected 1 or 0"),
        ("29;1", "29;1;9", "line 4: 6 cells, expected 5"),
        ("S-03;;", "S-03;;1", "line 4, column stroke_time: expected a time above 0"),
        ("S-03", "s_003", None),
        ("S-03", "s 1", "line 4: a second row of the person of line 2"),
        ("S-03", "", "line 4, column subject_id: empty"),
        ("stroke_event", "event", "column stroke_time but no column stroke_event"),
        ("stroke_time", "when", "column stroke_event but no column stroke_time"),
        ("moca", "diabetes", "a column 'diabetes' that is there twice"),
        ("moca", "bmi", "column bmi: the prepared nights say it themselves"),
        ("subject_id", "person", "no column subject_id in its first line"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(read, old, new, message):
    if message is None:
        assert read(TABLE.replace(old, new)).numbers["moca"]["s_3"] == 29
        return
    with pytest.raises(ValueError, match=message) as raised:
        read(TABLE.replace(old, new))
    assert "secret" not in str(raised.value)


def test_what_is_no_table_is_refused(read):
    with pytest.raises(ValueError, match="no text"):
        read(b"\x00\x01\x02 PK")
    with pytest.raises(ValueError, match="no column subject_id"):
        read("")
