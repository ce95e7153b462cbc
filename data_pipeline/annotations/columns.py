"""What the columns of tables are called, and in what unit their numbers are."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from data_pipeline.night import EPOCH_S

ONSET = (
    *("onset", "recording_onset", "onset_time", "start", "start_time", "starttime", "start_datetime", "begin"),
    *("begin_time", "begintime", "beginn", "startzeit", "debut", "heure_de_debut", "inicio", "inizio"),
    *("time_from_start", "elapsed_time", "clock_time", "clocktime", "clock", "datetime", "date_time", "timestamp"),
    *("time", "time_of_day", "zeit", "uhrzeit", "heure", "hora", "ora"),
)
"""The first of these that a table has, and that is filled, says where a row begins."""
EPOCH = ("epoch", "epoch_number", "epoch_no", "epoch_index", "epoche", "epoch_id")
DURATION = ("duration", "length", "dur", "event_duration", "dauer", "duree", "duracion", "durata")
END = ("end", "stop", "end_time", "endtime", "stop_time", "stoptime", "end_datetime", "ende", "fin", "fine")
DATE = ("date", "datum", "start_date", "fecha", "data")
STAGE = (
    *("stage_hum", "stage_human", "human_stage", "stage_expert", "expert_stage", "manual_stage", "consensus_stage"),
    *("stage", "sleep_stage", "stages", "sleepstage", "sleep_stages", "stage_name", "hypnogram", "hypno", "scoring"),
    *("schlafstadium", "stadium", "stade", "stade_de_sommeil", "estadio", "fase", "fase_de_sueno", "stadio"),
)
EVENT = (
    *("type", "event", "kind", "description", "annotation", "text", "name", "event_type", "trial_type", "eventtype"),
    *("label", "event_name", "class", "ereignis", "evenement", "evento"),
)
CODES = {"stage_hum": {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "REM", "8": "?"}}
"""Stage columns whose numbers are known by their name. `stage_hum` is of BOAS, https://openneuro.org/datasets/ds005555."""
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "hh_mm_ss", "h_m_s", "hms", "sekunden"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuten"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("epoch", "epochs"), float(EPOCH_S)),
    **dict.fromkeys(("sample", "samples", "datapoints", "points"), None),
}
"""Last word of a heading -> seconds; None: nobody knows how many without the rate."""
_ALL = frozenset((*ONSET, *EPOCH, *DURATION, *END, *DATE, *STAGE, *EVENT))


def column_name(text: str) -> str:
    """A column's heading as it is compared: lower case, no accents, other than letters and digits one underscore."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def base_and_unit(name: str) -> tuple[str, float | None]:
    """A column's name without its unit, and the unit in seconds (1 unless the heading says another)."""
    for unit, seconds in _UNITS.items():
        base = name.removesuffix(f"_{unit}")
        if base != name and base in _ALL:
            return base, seconds
    return name, 1.0


def is_looked_at(name: str) -> bool:
    """Whether a column of this name means something in a table of a scoring."""
    return base_and_unit(name)[0] in _ALL


@dataclass(frozen=True)
class Columns:
    """Where a table has what; None where it has no such column.

    Attributes:
      onset, duration, end: (place, seconds of the column's unit), the unit None for samples.
      epoch, date, stage, event: places.
      own: columns of somebody's own, by name.
    """

    onset: tuple[int, float | None] | None
    epoch: int | None
    duration: tuple[int, float | None] | None
    end: tuple[int, float | None] | None
    date: int | None
    stage: int | None
    event: int | None
    own: dict[str, int]

    @property
    def is_timed(self) -> bool:
        """Whether a column says where a row begins."""
        return self.onset is not None or self.epoch is not None

    @property
    def is_told(self) -> bool:
        """Whether a column says what a row is."""
        return self.stage is not None or self.event is not None or bool(self.own)


def columns_in(header: Sequence[str], rows: Sequence[Sequence[str]] = (), own: Collection[str] = ()) -> Columns:
    """The columns that a header names. Of several for one thing the first in our lists that has any cell filled."""
    named = [column_name(cell) for cell in header]
    bases = [base_and_unit(name) for name in named]

    def places(candidates: Sequence[str]) -> list[int]:
        found = [place for c in candidates for place, (base, _) in enumerate(bases) if base == c]
        filled = [p for p in found if any(len(row) > p and row[p].strip() for row in rows)]
        return filled or found

    def timed(candidates: Sequence[str]) -> tuple[int, float | None] | None:
        return next(((place, bases[place][1]) for place in places(candidates)), None)

    def one(candidates: Sequence[str]) -> int | None:
        return next(iter(places(candidates)), None)

    return Columns(
        onset=timed(ONSET),
        epoch=one(EPOCH),
        duration=timed(DURATION),
        end=timed(END),
        date=one(DATE),
        stage=one(STAGE),
        event=one(EVENT),
        own={name: place for place, name in enumerate(named) if name in own},
    )
