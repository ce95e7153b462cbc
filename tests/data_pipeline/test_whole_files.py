"""A file or folder is never seen in half."""

import os
import stat

import pytest

from data_pipeline.whole_files import HALF, whole_file, whole_folder, write_whole


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "stages.csv"
    write_whole(path, "old\r\n")
    with whole_file(path) as half:
        half.write_bytes(b"ne")
        assert path.read_bytes() == b"old\r\n" and half.parent == tmp_path and half.name.endswith(HALF)
        half.write_bytes(b"new")
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["stages.csv"]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "stages.csv"
    write_whole(path, "old")
    with pytest.raises(OSError, match="disk is full"), whole_file(path) as half:
        half.write_bytes(b"ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["stages.csv"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "stages.csv"
    with whole_file(path) as one, whole_file(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the last to end


def test_a_file_may_be_read_by_whom_the_user_lets_read(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_folder_takes_the_place_of_an_older_one(tmp_path, monkeypatch):
    path = tmp_path / "below" / "model"
    for name in ("first", "second"):
        with whole_folder(path) as fresh:
            (fresh / name).touch()
            assert name not in [p.name for p in path.glob("*")]
    assert [p.name for p in path.iterdir()] == ["second"] and [p.name for p in path.parent.iterdir()] == ["model"]
    with pytest.raises(ValueError), whole_folder(path) as fresh:
        (fresh / "third").touch()
        raise ValueError
    assert [p.name for p in path.iterdir()] == ["second"] and len(list(path.parent.iterdir())) == 1


def test_a_folder_that_cannot_be_put_in_place_gives_the_older_one_back(tmp_path):
    path = tmp_path / "model"
    with whole_folder(path) as fresh:
        (fresh / "old").touch()
    with pytest.raises(FileNotFoundError), whole_folder(path) as fresh:
        fresh.rmdir()
    assert [p.name for p in path.iterdir()] == ["old"]


@pytest.mark.parametrize("kind", ["working directory", "above it", "link", "mount", "parent is not ours"])
def test_a_folder_that_has_to_stay_is_filled_where_it_is(tmp_path, monkeypatch, kind):
    path = asked = tmp_path / "out"
    (path / "old" / "deep").mkdir(parents=True)
    (path / "both").write_text("old")
    inode = path.stat().st_ino
    if kind == "link":
        asked = tmp_path / "link"
        asked.symlink_to(path)
    elif kind == "mount":
        monkeypatch.setattr(type(path), "is_mount", lambda self: self == path)
    elif kind == "parent is not ours":
        monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    else:
        monkeypatch.chdir(path if kind == "working directory" else path / "old")
        asked = type(path)("." if kind == "working directory" else "..")
    with pytest.raises(ValueError), whole_folder(asked) as fresh:
        raise ValueError
    assert sorted(p.name for p in path.iterdir()) == ["both", "old"]
    with whole_folder(asked) as fresh:
        (fresh / "both").write_text("new")
        assert (path / "both").read_text() == "old"
    assert [p.name for p in path.iterdir()] == ["both"] and (path / "both").read_text() == "new"
    assert kind == "link" or path.stat().st_ino == inode
    assert kind != "link" or asked.is_symlink()
