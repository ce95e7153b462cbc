"""What a few minutes of a night tell of a channel, and when they do not suffice."""

from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
from scipy.signal import lfilter

from data_pipeline.load import open_channels, open_night
from data_pipeline.montage.mapping import map_channels
from data_pipeline.night import Quality, survey
from data_pipeline.readers import Recording, Signal
from data_pipeline.signals.channel import whole


def test_an_amplifier_cut_outside_the_survey_is_seen():
    rate_hz, n_seconds = Fraction(128), 7200
    x = lfilter([1], [1, -0.9], np.random.default_rng(0).normal(0, 9, n_seconds * 128)).astype(np.float32)
    between = slice(100 * 128, 160 * 128)  # the survey takes a minute in six
    assert not any(start_s < 160 and stop_s > 100 for start_s, stop_s in survey(n_seconds))
    x[between] = np.clip(8 * x[between], -150, 150)
    signal = Signal(0, "C3-M2", "uV", rate_hz, (-3000, 3000), (-32768, 32767))

    def read_span(index, start_s, stop_s):
        return x[round(start_s * 128) : round(stop_s * 128)].copy()

    recording = Recording(Path("n.edf"), n_seconds, (signal,), (), (), None, (), read_span)
    (recorded,), _ = open_channels(recording, map_channels(recording.signals))
    (channel,) = whole([recorded])
    clipped = np.flatnonzero(channel.quality & Quality.CLIPPED)
    assert len(clipped) > 40 and clipped.min() >= 100 and clipped.max() < 160


def test_a_channel_that_lives_for_a_minute_is_found_and_a_dead_one_refused(tmp_path):
    x = np.zeros(200 * 2400)
    x[200 * 1145 : 200 * 1225] = np.random.default_rng(0).normal(0, 20, 200 * 80)  # between two surveyed minutes
    alive, dead = (
        edfio.EdfSignal(y, 200, label=label, physical_dimension="uV", physical_range=(-500, 500))
        for y, label in ((x, "C3-M2"), (0 * x, "C4-M1"))
    )
    edfio.Edf([alive, dead]).write(tmp_path / "n.edf")
    night = open_night(tmp_path / "n.edf")
    (channel,) = night.read(0, 2400)
    good = np.flatnonzero(channel.quality == Quality.GOOD)
    assert channel.slot == "C3" and good.tolist() == list(range(1145, 1225))
    assert any("'C4-M1' is not used: no usable second: flat" in note for note in night.notes)
