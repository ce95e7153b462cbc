"""Numbers, clock times and dates as programs write them, and how they are put on one axis."""

import datetime

import pytest

from data_pipeline.annotations.text import decoded
from data_pipeline.annotations.times import axis_of, elapsed_in, length_s, moment_in, number_in


@pytest.mark.parametrize(
    ("text", "second", "day"),
    [
        ("22:30:05", 81005, None),
        ("22.30.05", 81005, None),
        ("22:30:05,500", 81005.5, None),
        ("10:30:05 PM", 81005, None),
        ("12:00:01 a.m.", 1, None),
        ("1985-01-02T00:00:01.5", 1.5, (1985, 1, 2)),
        ("1985-01-02 22:30:05+02:00", 81005, (1985, 1, 2)),
        ("31.12.84 22:30:05", 81005, (1984, 12, 31)),
        ("12/31/1984 10:30:05 PM", 81005, (1984, 12, 31)),
        ("01-01-85-22:30:05", 81005, (1985, 1, 1)),  # Luna
        ("2/1/1985 10:30:05 PM", 81005, (1985, 2, 1)),  # who writes PM writes the month first
        ("25:00:01", 90001, None),
    ],
)
def test_moments(text, second, day):
    moment = moment_in(text)
    assert moment.second == second and moment.days == ((datetime.date(*day),) if day else ())


@pytest.mark.parametrize(
    "text", ["22:30", "22:61:00", "13:00:00 PM", "31/31/2020 10:00:00", "1985-01-02T00:00:01Z", "3"]
)
def test_what_is_no_moment_for_sure(text):
    assert moment_in(text) is None


def test_numbers_and_lengths():
    assert [number_in(t) for t in ("30,5", "1e3", "-.5", "1,000,000", "1 000", "x")] == [
        30.5,
        1000,
        -0.5,
        None,
        None,
        None,
    ]
    assert [elapsed_in(t) for t in ("12,5", "0:00:12", "01:30.5", "1:2:3")] == [12.5, 12, 90.5, None]
    assert length_s(moment_in("23:59:50"), moment_in("00:00:05")) == 15


def seconds(*texts):
    axis = axis_of([moment_in(text) for text in texts])
    return None if axis is None else (list(axis.seconds), str(axis.clock), axis.day)


def test_one_axis():
    assert seconds("23:59:30", "00:00:30", "11:59:30", "23:59:30") == ([0, 60, 43200, 86400], "23:59:30", None)
    # In no order: the night begins after the longest stretch without a mark.
    assert seconds("00:10:00", "23:50:00", "00:00:00") == ([1200, 0, 600], "23:50:00", None)
    assert seconds(*(f"{h}:{m:02}:00" for m in (30, 0) for h in (3, 1, *range(24)))) is None
    blocks = ["20:00:00", "02:00:00", "08:30:00", "20:05:00", "02:05:00", "08:00:00"]
    assert seconds(*blocks) is None  # two nights, or stages and then events of one
    assert seconds(*(f"{h % 24}:00:00" for h in range(20, 20 + 49)))[0][-1] == 48 * 3600
    dated = seconds("2/1/2020 23:50:00", "3/1/2020 00:10:00")
    assert dated == ([0, 1200], "23:50:00", datetime.date(2020, 1, 2))  # not a month apart
    assert seconds("2/1/2020 20:00:00", "2/1/2020 20:10:00") == ([0, 600], "20:00:00", None)
    assert seconds("1.1.2020 20:00:00", "9.1.2020 20:00:00", "13.1.2020 20:00:00") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings(encoding):
    assert decoded("Éveil;30,5\r\n".encode(encoding)) == "Éveil;30,5\r\n"


def test_what_is_no_text():
    assert decoded(b"\x89PNG\r\n\x1a\n\0\1") is None and decoded(b"W\1N") is None
