"""Times as scoring software writes them: seconds with a point or a comma, clock times, dates with clock times."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

DAY_S = 86400
_LONGEST_DAYS = 7
"""As long as a recording may be."""
_CLEAR_GAP_S = 3600.0
"""Clock times in no order have a gap somewhere, where nothing was recorded; a shorter one may lie in the night."""

_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_MOMENT = re.compile(
    r"(?:(?P<a>\d{1,4})(?P<sep>[-./])(?P<b>\d{1,2})(?P=sep)(?P<c>\d{1,4})(?:[T ,-]\s*|\s+))?"
    r"(?P<h>\d{1,3})(?P<colon>[:.])(?P<m>\d{2})(?:(?P=colon)(?P<s>\d{2})(?:[.,:](?P<f>\d{1,9}))?)?"
    r"\s*(?P<half>[AP]\.?M\.?)?(?P<zone>[+-]\d{2}:?\d{2})?",
    re.ASCII | re.IGNORECASE,
)
_EMPTY = frozenset({"", "n/a", "na", "nan", "nat", "null", "none", "#n/a", "."})


def is_empty(cell: str) -> bool:
    """Whether a cell says nothing: BIDS writes "n/a", pandas "NaN", others "NULL" or a full stop."""
    return cell.strip().lower() in _EMPTY


def number_in(text: str) -> float | None:
    """A number with a decimal point or comma; None where the text is none.

    >>> number_in("30,5"), number_in("1e3"), number_in("22:30:00")
    (30.5, 1000.0, None)
    """
    text = text.strip()
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


@dataclass(frozen=True)
class Moment:
    """A time of day, and the day where it is written.

    Attributes:
      second: from midnight; more than a day where the hours do not stop at 24, which no clock writes.
      days: the days that the date may be, empty without one: "1/2/2020" is two.
    """

    second: float
    days: tuple[datetime.date, ...] = ()

    @property
    def day(self) -> datetime.date | None:
        """The day, None where no date is written or it may be two."""
        return self.days[0] if len(self.days) == 1 else None


def moment_in(text: str) -> Moment | None:
    """A clock time (24 hours or AM and PM) with or without a date; None where the text is none.

    "22:30" alone may be hours and minutes or minutes and seconds: it is none. Times in UTC ("Z") are none, for
    nobody knows what clock the recorder had; with an offset they are the local time that is written.

    >>> moment_in("22:30:05,5").second, moment_in("1/1/1985 10:30:00 PM").days[0].year
    (81005.5, 1985)
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None or int(match["m"]) > 59 or int(match["s"] or 0) > 59:
        return None
    hour = int(match["h"])
    if match["s"] is None and not (match["half"] or (match["a"] and match["colon"] == ":")):
        return None
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (match["half"][0] in "pP")
    days = ()
    if match["a"]:
        days = _days(match["a"], match["b"], match["c"], is_american=match["half"] is not None)
        if not days or hour > 23:
            return None
    return Moment(hour * 3600 + int(match["m"]) * 60 + float(f"{match['s'] or 0}.{match['f'] or 0}"), days)


def _days(a: str, b: str, c: str, is_american: bool) -> tuple[datetime.date, ...]:
    if len(a) == 4:
        orders = [(a, b, c)]
    elif is_american:
        orders = [(c, a, b), (c, b, a)]
    else:
        orders = [(c, b, a), (c, a, b)]
    days = []
    for year, month, day in orders:
        full = int(year) if len(year) > 2 else 2000 + int(year) - 100 * (int(year) > 68)
        try:
            days.append(datetime.date(full, int(month), int(day)))
        except ValueError:
            continue
    return tuple(dict.fromkeys(days[:1] if is_american else days))


def elapsed_in(text: str) -> float | None:
    """Seconds of a length of time: a number, "0:00:12", "01:30" (minutes and seconds); None where it is none."""
    if (number := number_in(text)) is not None:
        return number
    match = re.fullmatch(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2}(?:[.,]\d{1,9})?)", text.strip(), re.ASCII)
    if match is None:
        return None
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))


@dataclass(frozen=True)
class Axis:
    """Moments as seconds from the earliest of them, whose clock time and day these are."""

    seconds: tuple[float, ...]
    clock: datetime.time
    day: datetime.date | None


def axis_of(moments: Sequence[Moment]) -> Axis | None:
    """The moments of a night on one axis.

    With dates they are days apart; where a date may be read in two ways, the one in which all fit into a week, and
    no day where both do. Without dates, those in order pass midnight where the time goes back by more than half a
    day; those in no order begin after the longest stretch of the day in which there is none.

    Returns:
      None where nobody can say where the night begins: that stretch is shorter than an hour, or times in order may be
      of two days or twice of one; and for dates that are more than a week apart.
    """
    if not moments:
        return None
    if all(m.days for m in moments):
        return _dated(moments)
    seconds = _in_order([m.second for m in moments])
    night = _within_a_day([m.second for m in moments])
    if seconds is None or (night is not None and seconds[-1] - seconds[0] > DAY_S):
        # Stages of more than half a day and then the events of the same night look like two days, too.
        if seconds is not None or night is None:
            return None
        seconds = night
    days = set.intersection(*(set(m.days) for m in moments)) if moments[0].days else set()
    return _axis(seconds, min(seconds), days.pop() if len(days) == 1 else None)


def _in_order(times: Sequence[float]) -> list[float] | None:
    """Times of day that go on, past midnight where they go back by more than half a day; None where they do not."""
    days, seconds = 0, []
    for before, now in pairwise([times[0], *times]):
        days += before - now > DAY_S / 2
        seconds.append(now + days * DAY_S)
    return seconds if all(0 <= after - before <= DAY_S / 2 for before, after in pairwise(seconds)) else None


def _within_a_day(times: Sequence[float]) -> list[float] | None:
    """Times of day in any order, after the longest stretch of the day without any; None where it is not clear."""
    around = sorted({t % DAY_S for t in times})
    longest, begin = max((b - a, b) for a, b in pairwise([*around, around[0] + DAY_S]))
    return [(t - begin) % DAY_S + begin % DAY_S for t in times] if longest > _CLEAR_GAP_S else None


def _dated(moments: Sequence[Moment]) -> Axis | None:
    ways = {}
    for way in range(max(len(m.days) for m in moments)):
        days = [m.days[min(way, len(m.days) - 1)].toordinal() for m in moments]
        seconds = [m.second + DAY_S * (day - min(days)) for m, day in zip(moments, days, strict=True)]
        if max(seconds) - min(seconds) <= _LONGEST_DAYS * DAY_S:
            first = min(seconds)
            ways[datetime.date.fromordinal(min(days) + int(first // DAY_S))] = (seconds, first)
    if not ways:
        return None
    day, (seconds, first) = next(iter(ways.items()))
    return _axis(seconds, first, day if len(ways) == 1 else None)


def _axis(seconds: Sequence[float], first: float, day: datetime.date | None) -> Axis:
    return Axis(tuple(round(s - first, 6) for s in seconds), clock_of(first), day)


def clock_of(second: float) -> datetime.time:
    """The time of day of a second from midnight."""
    return (datetime.datetime.min + datetime.timedelta(seconds=second % DAY_S)).time()


def length_s(start: Moment, stop: Moment) -> float:
    """Seconds from one moment to a later one; without dates, less than a day."""
    if len(start.days) == len(stop.days) > 0:
        return round(stop.second - start.second + DAY_S * (stop.days[0] - start.days[0]).days, 6)
    return round((stop.second - start.second) % DAY_S, 6)
