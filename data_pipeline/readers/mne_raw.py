"""From an `mne.io.Raw` to a `Recording`: what EEGLAB, FIF, GDF and Nihon Kohden have in common.

mne gives volts where it knows the unit, and marks where it joined pieces; here they are taken apart again.
"""

import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipeline.night import RecordingError
from data_pipeline.readers.edf_header import told_day
from data_pipeline.readers.recording import LONGEST_S, MOST_ANNOTATIONS, Annotation, Recording, Signal, in_order
from data_pipeline.readers.timeline import Break, Timeline, check_gaps, exact_rate, joint

if TYPE_CHECKING:
    from mne.io import BaseRaw

NO_LIMIT = (-math.inf, math.inf)
_BOUNDARIES = ("boundary", "-99")
"""EEGLAB's events where samples were cut out; their length is what was cut."""
JOINTS = (*_BOUNDARIES, "bad boundary", "edge boundary")
_NOT_RECORDED = "bad_acq_skip"


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """A damaged file ends in any error, a bare `Exception` too: mne checks little. Our own errors pass.

    Its texts may quote the file, so they are not repeated.
    """
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:
        problem = f"damaged, or a kind of {form} that is not read ({type(error).__name__})"
        raise RecordingError(path, f"{problem}. Copy or export it again, if need be as EDF+.") from error


def recording_of(
    path: Path,
    raw: "BaseRaw",
    form: str,
    *,
    units: Sequence[str] | None = None,
    limits: Sequence[tuple[float, float]] | None = None,
    joints: Sequence[str] = JOINTS,
    picks: Sequence[int] | None = None,
) -> Recording:
    """The recording in a file that mne has opened without loading it.

    Args:
      form: what the format is called.
      units: of the channels; None: V where mne says so, else none.
      picks: the channels that there are, all when None: for a recording that is in no file.
      limits, joints: as in `recording_from`.
    Raises:
      RecordingError: as `recording_from`, or the last sample cannot be read.
    """
    from mne.io.constants import FIFF

    places = range(len(raw.ch_names)) if picks is None else picks

    def load(index: int, first: int, stop: int) -> np.ndarray:
        with reading(path, form):
            return raw[places[index], first:stop][0][0]

    with reading(path, form):
        start_s = raw.first_samp / raw.info["sfreq"]
        marks = [(float(a["onset"] - start_s), float(a["duration"]), a["description"]) for a in raw.annotations]
        date = raw.info["meas_date"]
    recording = recording_from(
        path,
        form,
        rate_hz=raw.info["sfreq"],
        n=raw.n_times,
        labels=[raw.ch_names[place] for place in places],
        units=units or ["V" if raw.info["chs"][place]["unit"] == FIFF.FIFF_UNIT_V else "" for place in places],
        limits=limits,
        marks=marks,
        joints=joints,
        start_clock=f"{date:%H:%M:%S}" if date else None,
        start_day=told_day(date.date()) if date else None,
        load=load,
        most=path.stat().st_size if picks is None else None,
    )
    load(0, raw.n_times - 1, raw.n_times)  # a file that ends too early is refused now
    return recording


def recording_of_raw(raw: "BaseRaw") -> Recording:
    """A recording that somebody has open in mne; its samples stay there. What it calls bad is left out, and named.

    Raises:
      TypeError: it is no `mne.io.BaseRaw`. RecordingError: as `recording_from`.
    """
    import mne

    if not isinstance(raw, mne.io.BaseRaw):
        expected = "a path, an mne.io.Raw, a Night, or arrays {label: (samples in uV, rate in Hz)}"
        raise TypeError(f"a recording is {expected}; found {type(raw).__name__}")
    name = next((Path(file).name for file in raw.filenames if file), "raw")
    bad = [label for label in raw.ch_names if label in raw.info["bads"]]
    picks = [place for place, label in enumerate(raw.ch_names) if label not in bad]
    recording = recording_of(Path(name), raw, "mne Raw", picks=picks)
    notes = (*recording.notes, f"{len(bad)} channel(s) marked as bad in mne are not used.") if bad else recording.notes
    return replace(recording, notes=notes)


def recording_from(
    path: Path,
    form: str,
    *,
    rate_hz: float,
    n: int,
    labels: Sequence[str],
    units: Sequence[str],
    marks: Sequence[tuple[float, float, str]],
    load: Callable[[int, int, int], np.ndarray],
    limits: Sequence[tuple[float, float]] | None = None,
    joints: Sequence[str] = JOINTS,
    start_clock: str | None = None,
    start_day: datetime.date | None = None,
    most: int | None = None,
) -> Recording:
    """The recording in a file of one rate.

    Args:
      n: samples a channel.
      labels, units: of the channels.
      marks: (onset_s, duration_s, text), with those that tell of interruptions.
      load: samples `first:stop` of the channel `index`.
      limits: smallest and largest value that the file can hold, a channel; None where it stores floats.
      joints: texts, in lower case, that stand where pieces were joined.
      most: bytes of the file, where each sample takes one at least.
    Raises:
      RecordingError: no channel or sample, longer than a week, more samples than bytes, or gaps without end.
    """
    if len(marks) > MOST_ANNOTATIONS:
        raise RecordingError(path, f"{len(marks)} marks, expected at most {MOST_ANNOTATIONS}. Export it again.")
    with reading(path, form):
        rate = exact_rate(rate_hz)
        breaks = [_break(onset_s, length_s, text.lower(), rate_hz, joints) for onset_s, length_s, text in marks]
        timeline = Timeline(n, rate, tuple(b for b in breaks if b is not None))
        duration_s, gaps = timeline.duration_s, timeline.gaps
    check_gaps(path, gaps, rate_hz, "by its marks")
    if most is not None and timeline.n_stored * len(labels) > most:
        problem = f"{timeline.n_stored} samples of {len(labels)} channels do not fit into its {most} bytes"
        raise RecordingError(path, f"{problem}. It is cut or damaged: copy it again.")
    if not labels or not 0 < duration_s <= LONGEST_S:
        problem = f"{len(labels)} channels of {duration_s:g} s, expected at least one and at most {LONGEST_S} s"
        raise RecordingError(path, f"{problem}. The file is damaged, or must be split into nights.")
    signals = tuple(
        Signal(index, label, unit, rate, limits[index] if limits else NO_LIMIT, (0, 1))
        for index, (label, unit) in enumerate(zip(labels, units, strict=True))
    )
    annotations = in_order(
        Annotation(timeline.true_s(onset_s), length_s if length_s > 0 else None, text)
        for (onset_s, length_s, text), b in zip(marks, breaks, strict=True)
        if b is None and text
    )
    unscaled = [str(s.index + 1) for s in signals if not s.unit]
    notes = (*timeline.notes, f"No unit is known of channels {', '.join(unscaled)}.") if unscaled else timeline.notes
    read_span = timeline.read_span(load)
    return Recording(path, duration_s, signals, annotations, gaps, start_clock, notes, read_span, start_day)


def _break(onset_s: float, length_s: float, text: str, rate_hz: float, joints: Sequence[str]) -> Break | None:
    if text.startswith(_NOT_RECORDED):
        first = round(onset_s * rate_hz)
        return Break(first, first + round(length_s * rate_hz))
    if text not in joints:
        return None
    # EEGLAB writes a boundary half a sample before the piece that follows, with the length of what was cut out.
    at = math.ceil(onset_s * rate_hz - 1e-3)
    is_stated = text in _BOUNDARIES and length_s > 0
    return joint(at, round(length_s * rate_hz) if is_stated else None)
