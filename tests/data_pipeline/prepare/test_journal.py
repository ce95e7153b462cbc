"""A run that was stopped goes on, and what has not changed is kept."""

import os

import pytest

from data_pipeline.prepare.journal import JOURNAL, FileSeen
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.manifest import MANIFEST, read_manifest
from tests.support.loaders import (
    stops_at_three,
)
from tests.support.nights import files, write_recordings
from tests.support.preparing import prepared


def refuses_all(recording, scoring=(), **facts):
    raise AssertionError(f"{recording} was read again")


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3, 4]), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    assert (out / JOURNAL).is_file() and not (out / MANIFEST).exists()
    (out / "n9.array_record.half").write_bytes(b"half a night")
    (out / "n4.array_record").write_bytes(b"a shard without its manifest")
    (out / "n2.array_record").write_bytes(b"cut")
    summary = prepared(folder, out)
    assert summary.kept == 1
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_a_journal_whose_last_line_is_cut_keeps_the_others(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    journal = (out / JOURNAL).read_bytes()
    (out / JOURNAL).write_bytes(journal[:-30])  # n2's line
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    assert prepared(folder, out).kept == 2
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_only_what_changed_is_prepared_again(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out"
    prepared(folder, out)
    before = files(out)
    assert prepare([folder], out, load=refuses_all).kept == 2 and files(out) == before
    (folder / "n1.edf").write_text("seed 5")
    write_recordings(folder, [3])
    assert prepared(folder, out).kept == 1 and verify(out) == []
    (folder / "demographics.csv").write_text("night_id,subject_id\nn2,anna\n")
    assert prepared(folder, out).kept == 2 and read_manifest(out).nights[1].subject_id == "anna"
    assert prepared(folder, out, config=PrepareConfig(val_share=0.5)).kept == 0
    (folder / "n1.edf").write_text("seed bad")
    prepared(folder, out, config=PrepareConfig(val_share=0.5))
    assert not (out / "n1.array_record").exists() and verify(out) == []


def test_two_runs_do_not_fill_one_folder(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])

    def second_run(done, total, night_id):
        with pytest.raises(ValueError, match="another run is preparing into this folder"):
            prepared(folder, tmp_path / "out")
        seen.append(night_id)

    seen = []
    prepared(folder, tmp_path / "out", progress=second_run)
    assert seen == ["n1"] and verify(tmp_path / "out") == []


def test_sources_are_read_again_only_when_their_size_or_times_changed_or_on_demand(tmp_path, monkeypatch):
    folder, out = write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out"
    prepared(folder, out)
    before, read = files(out), []
    hash_file = FileSeen.read
    monkeypatch.setattr(FileSeen, "read", lambda path: read.append(path.name) or hash_file(path))

    def again(**options):
        read.clear()
        kept = prepare([folder], out, load=refuses_all, **options).kept
        assert kept == 2 and files(out) == before
        return sorted(read)

    assert again() == []
    assert again(rehash=True) == ["n1.edf", "n2.edf"]
    (folder / "n1.edf").touch()
    assert again() == ["n1.edf"] and again() == []
    (out / "sources.jsonl").unlink()
    assert again() == ["n1.edf", "n2.edf"]
    # Other bytes of the same length with the old date: the inode's own time gives it away.
    old = (folder / "n1.edf").stat()
    (folder / "n1.edf").write_text("seed 5")
    os.utime(folder / "n1.edf", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert prepared(folder, out).kept == 1 and files(out) != before


def test_shards_of_other_settings_are_never_taken_for_these(tmp_path):
    """Sizes are rounded, so two shards of one night under two settings may well be equally long."""
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    prepared(folder, out)
    before = files(out)
    with pytest.raises(KeyboardInterrupt):  # after the first two
        prepare([folder], out, load=stops_at_three, config=PrepareConfig(test_share=0.2))
    again = prepared(folder, out)
    assert again.kept == 0 and files(out) == before and verify(out) == []
