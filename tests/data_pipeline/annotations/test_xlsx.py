"""Workbooks: dates as numbers, several sheets, bombs."""

from datetime import date, datetime, timedelta

import pytest

from data_pipeline.annotations import DIALECTS, read_scoring
from data_pipeline.annotations.safe_xml import MAX_BYTES
from data_pipeline.night import RecordingError
from tests.support.lookalikes.scorings import xlsx
from tests.support.scorings import write

ROWS = [["stage", "onset_s"], ["W", 0], ["N2", 30]]


@pytest.mark.parametrize("first", [datetime(2020, 1, 1, 23, 59, 45), 0.9998263888888889])
def test_dates_and_clock_times_are_numbers_with_a_style(tmp_path, first):
    second = 0.00017361111 if isinstance(first, float) else first + timedelta(seconds=30)
    path = write(tmp_path / "n.xlsx", xlsx([["Time", "Event"], [first, "W"], [second, "REM"]]))
    assert read_scoring(path, 60, start_clock="23:59:45")[0].stages.tolist() == [0, 4]
    assert DIALECTS["xlsx"](path).day == (None if isinstance(first, float) else date(2020, 1, 1))


def test_lengths_are_parts_of_a_day(tmp_path):
    rows = [[datetime(2020, 1, 1, 23, 0, 30 * k), 30 / 86400, word] for k, word in enumerate(("W", "REM"))]
    path = write(tmp_path / "n.xlsx", xlsx([["Start Time", "Duration", "Event"], *rows]))
    assert read_scoring(path, 60, start_clock="23:00:00")[0].stages.tolist() == [0, 4]


def test_columns_of_somebodys_own_and_a_list_without_a_header(tmp_path):
    path = write(tmp_path / "n.xlsx", xlsx([["onset_s", "duration_s", "snoring"], [3, 5, 1], [20, 2, 0]]))
    scoring, _ = read_scoring(path, 60, kinds=("snoring",))
    assert [(e.kind, e.onset_s) for e in scoring.events] == [("snoring", 3)] and scoring.scored == {"snoring"}
    path = write(tmp_path / "list.xlsx", xlsx([[1, "W"], [2, "N2"], [3, "REM"]], [["Doe"]]))
    assert read_scoring(path, 90)[0].stages.tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xlsx(ROWS, ROWS), "2 sheets are scorings"),
        (xlsx([["Doe"], [1, 2]]), "no sheet has a header"),
        (xlsx(ROWS, extra={"xl/worksheets/sheet1.xml": " " * (MAX_BYTES + 1)}), "unpacks to more than 8 MB"),
        (xlsx(ROWS, extra={"xl/sharedStrings.xml": "<!DOCTYPE a [<!ENTITY x 'y'>]><sst>&x;</sst>"}), "document type"),
        (xlsx(ROWS, extra={"xl/workbook.xml": "<workbook"}), "damaged XML"),
        (xlsx(ROWS)[:300], "damaged workbook"),
    ],
)
def test_bombs_and_damage_are_refused(tmp_path, content, message):
    with pytest.raises(RecordingError, match=message) as error:
        read_scoring(write(tmp_path / "n.xlsx", content), 60)
    assert "Doe" not in str(error.value)
