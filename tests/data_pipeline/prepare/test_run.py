"""A folder of recordings becomes a prepared folder: nothing is lost silently."""

import os
import sys
from pathlib import Path

import edfio
import numpy as np
import pytest
from scipy.signal import lfilter

from data_pipeline.prepare.night import OutputError
from data_pipeline.prepare.run import PREPARATION, prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.epochs import night_events
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import read_manifest
from tests.support.loaders import (
    empties_the_folder,
)
from tests.support.nights import files, random_night, write_recordings
from tests.support.preparing import prepared


def test_a_folder_becomes_shards_and_a_manifest(tmp_path):
    summary = prepared(write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == [
        "manifest.jsonl",
        "n1.array_record",
        "n2.array_record",
        "population.json",
        "rejected.jsonl",
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.nights == summary.nights and [n.night_id for n in manifest.nights] == ["n1", "n2"]
    night, entry = random_night(2, 6), manifest.nights[1]
    assert (entry.n_epochs, entry.duration_s, len(entry.channels)) == (6, 187, 17)
    np.testing.assert_array_equal(entry.stage_codes, night.scoring.stages)
    assert sum(entry.stage_counts.values()) == 6
    assert entry.stage_counts["?"] == (night.scoring.stages == -1).sum()
    assert sum(entry.event_counts.values()) == len(night.scoring.events)
    for channel, stored in zip(night.channels, entry.channels, strict=True):
        good = channel.samples.reshape(len(channel.quality), -1)[channel.quality == 0]
        assert stored.median == pytest.approx(np.median(good), abs=1e-6)
        assert stored.iqr == pytest.approx(np.subtract(*np.percentile(good, (75, 25))), rel=1e-5)
        assert stored.good_share == (channel.quality[:180] == 0).mean()
        assert stored.usable_epochs == ((0, 6),) and stored.usable(7).tolist() == [True] * 6 + [False]
    shard = tmp_path / "out" / entry.shard
    assert night_events(read_epochs(open_shard(shard, 6), shard, entry.night_id, 0, 6)) == night.scoring.events
    assert verify(tmp_path / "out") == verify(tmp_path / "out", workers=2) == []


def test_a_folder_that_is_removed_in_the_middle_stops_the_run(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(OutputError, match="No such file or directory"):
        prepare([folder], tmp_path / "out", load=empties_the_folder)
    prepared(folder, tmp_path / "out")

    def empty(done, total, night_id):
        (tmp_path / "out" / "n1.array_record").unlink()

    (folder / "n2.edf").write_text("seed 4")
    with pytest.raises(OutputError, match=r"1 shards are gone, such as n1\.array_record"):
        prepared(folder, tmp_path / "out", progress=lambda done, *_: empty(done, *_) if done == 2 else None)


def test_ray_that_is_not_installed_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'sleepmami\[ray\]'"):
        prepare([write_recordings(tmp_path / "in", [1])], tmp_path / "out", ray="auto")


def test_nights_of_another_data_set_are_not_forgotten(tmp_path):
    prepared(write_recordings(tmp_path / "a", [1]), tmp_path / "out")
    with pytest.raises(ValueError, match="holds 1 nights that are not among the inputs, such as n1"):
        prepared(write_recordings(tmp_path / "b", [2]), tmp_path / "out")
    assert verify(tmp_path / "out") == []


def test_two_nights_with_one_id_are_both_taken_or_one_is_named(tmp_path):
    folder = tmp_path / "in"
    write_recordings(folder / "a", [1])
    (write_recordings(folder / "b", [2]) / "n2.edf").rename(folder / "b" / "n1.edf")
    summary = prepared(folder, tmp_path / "out")
    assert [n.night_id for n in summary.nights] == ["a-n1", "b-n1"]
    adapter = tmp_path / "lab.py"
    adapter.write_text(
        "from data_pipeline.cohorts import Source\n"
        "def find_nights(inputs):\n"
        "    return [Source('n1', 'p', '', path) for path in sorted(inputs[0].glob('?/*.edf'))]\n"
    )
    summary = prepared(folder, tmp_path / "out2", cohort=str(adapter))
    assert [n.night_id for n in summary.nights] == ["n1"] and (tmp_path / "out2/n1.array_record").is_file()
    assert summary.rejected[0].reason == "n1.edf: another recording, n1.edf, is night n1 already; rename one"


def test_the_same_recording_under_two_names_is_one_night(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2])
    (folder / "a copy.edf").write_text("seed 1")
    (folder / "of the header alone.edf").write_text("Anonymised seed 1")
    summary = prepared(folder, tmp_path / "out")
    assert [n.night_id for n in summary.nights] == ["a_copy", "n2"]
    assert [(r.night_id, r.problem) for r in summary.rejected] == [
        (night_id, "the same recording as night a_copy, under another name")
        for night_id in ("n1", "of_the_header_alone")
    ]
    assert not (tmp_path / "out/n1.array_record").exists() and verify(tmp_path / "out") == []


@pytest.mark.skipif("SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of recordings")
def test_real_recordings_are_prepared_or_refused_with_a_reason(tmp_path):
    summary = prepare([Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dreams_spindles"], tmp_path)
    assert {"excerpt1", "excerpt2", "excerpt3", "excerpt4"} <= {night.night_id for night in summary.nights}
    assert all(night.n_epochs == 60 for night in summary.nights if night.night_id != "excerpt3_full")
    assert all(rejection.reason for rejection in summary.rejected)
    assert verify(tmp_path) == []


def test_what_preparation_makes_of_a_recording_is_what_its_number_says(tmp_path):
    """When this fails because samples, flags or labels changed on purpose, raise `PREPARATION` and note them here."""
    t = np.arange(128 * 150) / 128
    noise = np.random.default_rng(0).normal(0, 9, (2, len(t)))
    eeg, mastoid = lfilter([1], [1, -0.9], noise) + 40 * np.sin(2 * np.pi * 50 * t)
    eeg[128 * 60 : 128 * 63] = 300
    signals = [
        edfio.EdfSignal(x, 128, label=label, physical_dimension="uV", physical_range=(-300, 300))
        for label, x in (("C3", eeg), ("M2", mastoid))
    ]
    (tmp_path / "in").mkdir()
    edfio.Edf(signals).write(tmp_path / "in" / "n.edf")
    prepare([tmp_path / "in"], tmp_path / "out")
    (entry,) = read_manifest(tmp_path / "out").nights
    (channel,) = entry.channels
    assert (PREPARATION, channel.slot, channel.label) == (2, "C3", "C3 - M2")
    assert (channel.median, channel.iqr) == pytest.approx((-0.394, 37.096), abs=0.02)
    assert channel.good_share == 0.98
