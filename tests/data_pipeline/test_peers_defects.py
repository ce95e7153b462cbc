"""Traps of preparation that other programs fell into and that no other test of ours guards."""

import edfio
import numpy as np

from data_pipeline.prepare.run import prepare
from data_pipeline.shards.files import open_shard, read_epochs


def sine(label, f_hz, rate_hz, seconds=60, unit="uV"):
    x = 20 * np.sin(2 * np.pi * f_hz * np.arange(seconds * rate_hz) / rate_hz)
    return edfio.EdfSignal(x, rate_hz, label=label, physical_dimension=unit, physical_range=(-100, 100))


def saturation(seconds):
    return edfio.EdfSignal(
        np.resize([96.0, 95.0], seconds), 1, label="SpO2", physical_dimension="%", physical_range=(0, 100)
    )


def prepared_night(tmp_path, *signals):
    """The manifest's entry of a night and its first epoch."""
    edfio.Edf(signals).write(tmp_path / "n.edf")
    summary = prepare([tmp_path / "n.edf"], tmp_path / "out")
    assert not summary.rejected
    shard = tmp_path / "out" / "n.array_record"
    return summary.nights[0], read_epochs(open_shard(shard, summary.nights[0].n_epochs), shard, "n", 0, 1)[0]


def test_a_night_without_heart_breath_or_muscle_is_kept(tmp_path):
    """Guards against nights that lack a modality being left out without a count."""
    night, epoch = prepared_night(tmp_path, sine("C4-M1", 10, 128))
    assert [c.slot for c in night.channels] == ["C4"]
    assert [s.modality for s in epoch.signals] == ["EEG"]  # and nothing is filled with zeros


def test_a_dead_channel_gives_its_place_to_nobody(tmp_path):
    """Guards against signals moving up under the names of channels that were skipped before them."""
    dead = [sine("C3-M2", 0, 128), sine("Zebra", 3, 128)]
    night, epoch = prepared_night(tmp_path, sine("F3-M2", 5, 128), *dead, sine("C4-M1", 9, 200), sine("O1-M2", 13, 100))
    spectra = np.abs(np.fft.rfft(epoch.signals[0].physical()))
    found = dict(zip(epoch.signals[0].slots, spectra.argmax(1) / 30, strict=True))
    assert found == {"F3": 5, "C4": 9, "O1": 13}
    assert [c.slot for c in night.channels] == ["F3", "C4", "O1"]


def test_each_channel_keeps_its_own_rate_in_the_manifest(tmp_path):
    """Guards against one rate being written down for all after a reader brought them to the fastest."""
    night, epoch = prepared_night(tmp_path, sine("C4-M1", 10, 500), sine("Thorax", 0.25, 10, unit=""), saturation(60))
    assert {c.slot: c.source_rate_hz for c in night.channels} == {"C4": 500, "THORAX": 10, "SPO2": 1}
    assert [s.samples.shape for s in epoch.signals] == [(1, 30 * 128), (1, 30 * 32), (1, 30)]
    assert set(np.unique(np.round(epoch.signals[2].physical(), 2))) == {95.0, 96.0}  # held, not smeared


def test_a_long_night_is_whole(tmp_path):
    """Guards against a night being cut at eight hours, or filled up to them."""
    night, _ = prepared_night(tmp_path, saturation(int(9.5 * 3600)))
    assert (night.n_epochs, night.duration_s) == (1140, 34_200)
    night, _ = prepared_night(tmp_path, saturation(90))
    assert night.n_epochs == 3
