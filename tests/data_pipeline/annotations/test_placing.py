"""A scoring lies where its clock, its unit and its length put it, or is refused."""

import datetime

import pytest

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.placing import Misplaced, place
from data_pipeline.readers import Annotation

STAGES = ("W", "N1", "N2", "N3", "R", "N2")
HOUR_S = 3600.0
DAY = datetime.date(2020, 1, 1)


def stages(n: int, step: float = 30.0, length: float | None = 30.0, first: float = 0.0) -> tuple[Annotation, ...]:
    return tuple(Annotation(first + step * k, length, f"Sleep stage {STAGES[k % 6]}") for k in range(n))


def clocked(clock: str, n: int = 120, day: datetime.date | None = None, **options) -> Marks:
    return Marks(stages(n), datetime.time.fromisoformat(clock), day, **options)


@pytest.mark.parametrize(
    ("marks", "day", "shift_s"),
    [
        (clocked("22:00:00"), None, 0),
        (clocked("22:10:00"), None, 600),
        (clocked("21:50:00"), None, -600),
        (clocked("00:30:00"), None, 9000),  # after midnight
        (clocked("00:30:00", day=datetime.date(2020, 1, 2)), DAY, 9000),
        (clocked("00:30:00", day=DAY), DAY, 9000),  # of the night, as some programs have it
        (clocked("22:10:00", day=DAY), None, 600),
        (clocked("22:10:00", day=datetime.date(1985, 1, 1)), DAY, 600),  # what stands where no day may be told
    ],
)
def test_clocks_of_both_sides_place_it(marks, day, shift_s):
    annotations, _, notes = place(marks, "22:00:00", day, 4 * HOUR_S)
    assert [a.onset_s for a in annotations] == [a.onset_s + shift_s for a in marks.annotations]
    said = f"{abs(shift_s)} s {'after' if shift_s > 0 else 'before'} the recording"
    assert said in notes[0] if shift_s else notes == ()


@pytest.mark.parametrize(
    ("marks", "day", "problem"),
    [
        (clocked("12:00:00"), None, "nothing of it lies within the recording, 22:00:00 to 23:00:00"),
        (clocked("21:10:00"), None, "less than half of it"),
        (clocked("22:00:00", day=datetime.date(2020, 3, 1)), DAY, "60 days after the recording"),
        (clocked("22:00:00", 960), None, "25200 s after the recording, which is 3600 s long"),
    ],
)
def test_another_time_or_length_is_refused(marks, day, problem):
    with pytest.raises(Misplaced, match=problem):
        place(marks, "22:00:00", day, HOUR_S)


def test_of_one_day_and_clock_a_part_may_be_recorded():
    assert len(place(clocked("22:00:00", 960, DAY), "22:00:00", DAY, HOUR_S)[0]) == 960


def test_a_clock_on_one_side_only():
    annotations, _, notes = place(clocked("22:10:00"), None, None, HOUR_S)
    assert annotations[0].onset_s == 0 and "the recording has none" in notes[0]
    # Midnight without a day is what programs write that know no time.
    assert place(clocked("00:00:00"), "22:00:00", DAY, HOUR_S)[0][0].onset_s == 0
    assert place(clocked("22:10:00"), "00:00:00", None, HOUR_S)[0][0].onset_s == 0


@pytest.mark.parametrize(
    ("annotations", "unit"),
    [
        (stages(120, 30_000, 30_000), "milliseconds"),
        (stages(120, 1, 1), "epochs"),
        (stages(120, 1, None), "epochs"),
        (stages(120, 1, 30, first=1), "epochs"),
        (stages(120, 1, 1, first=1), "epochs"),
        (stages(120, 0.5, 0.5), "minutes"),
        (stages(120, 3840, 3840), "samples at 128 Hz"),
        (stages(120, 6000, None), "samples at 200 Hz"),
    ],
)
def test_units_are_recognised_where_only_they_fill_the_night(annotations, unit):
    placed, _, notes = place(Marks(annotations), None, None, HOUR_S)
    assert [a.onset_s for a in placed] == pytest.approx([30.0 * k for k in range(120)])
    assert {a.duration_s for a in placed} in ({30.0}, {None}) and f"in {unit}" in notes[0]


def test_lights_are_moved_with_the_marks():
    assert place(clocked("22:10:00", lights_s=(60.0, None)), "22:00:00", None, 2 * HOUR_S)[1] == (660.0, None)
    in_epochs = Marks(stages(120, 1, 1, first=1), lights_s=(3.0, 101.0))
    assert place(in_epochs, None, None, HOUR_S)[1] == (60.0, 3000.0)


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        (stages(120, 1, 1), "in what unit"),  # of an hour, in epochs, in a recording of four
        (stages(960), "14400 s after the recording"),
        (tuple(Annotation(1000.0 * k, 10_000.0, "Hypopnea") for k in range(900)), "885 of its 900 events lie outside"),
    ],
)
def test_what_fits_no_unit_is_refused(annotations, problem):
    with pytest.raises(Misplaced, match=problem):
        place(Marks(annotations), None, None, 4 * HOUR_S)


def test_seconds_stay_seconds():
    for annotations in (stages(120), stages(180, 20, 20), stages(3600, 1, 1), stages(3), stages(130)):
        assert place(Marks(annotations), "22:00:00", None, HOUR_S)[0] == annotations
    _, _, notes = place(Marks(stages(120)), "22:00:00", None, 4 * HOUR_S)
    assert "10800 s before the recording does, and nothing says when they begin" in notes[0]
    unscored = (*stages(120), Annotation(HOUR_S, 80_000.0, "Sleep stage ?"))
    assert place(Marks(unscored), None, None, HOUR_S)[2] == ()
