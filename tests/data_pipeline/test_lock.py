import pytest

from data_pipeline.lock import alone_in, open_alone


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / ".lock"
    with open_alone(path):
        assert open_alone(path) is None
    with open_alone(path) as file:
        assert file is not None


def test_what_was_written_stays(tmp_path):
    path = tmp_path / "journal"
    for word in (b"one", b"two"):
        with open_alone(path) as file:
            file.write(word)
    assert path.read_bytes() == b"onetwo"


def test_a_file_that_was_removed_as_we_came_is_not_what_is_locked(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    first = open_alone(path)
    real, tries = type(path).open, []

    def open_late(self, *args):
        file = real(self, *args)
        tries.append(file)
        if len(tries) == 1:  # the run before us ends between our opening and our locking
            path.unlink()
            first.close()
        return file

    monkeypatch.setattr(type(path), "open", open_late)
    with open_alone(path) as file:
        assert file is tries[1] and tries[0].closed and path.exists()


def test_the_second_in_a_folder_is_told_and_leaves(tmp_path):
    with alone_in(tmp_path / "run"):
        with pytest.raises(ValueError, match="run: another run is working in this folder"), alone_in(tmp_path / "run"):
            raise AssertionError("both are in")
        assert list((tmp_path / "run").iterdir())
    with alone_in(tmp_path / "run"):
        (tmp_path / "run" / "result").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path):
    with alone_in(tmp_path / "new" / "run"):
        pass
    assert not (tmp_path / "new" / "run").exists()
    with alone_in(tmp_path / "kept"):
        (tmp_path / "kept" / "result").touch()
    (tmp_path / "empty").mkdir()
    with alone_in(tmp_path / "empty"):
        pass
    assert [p.name for p in sorted((tmp_path / "kept").iterdir())] == ["result"] and (tmp_path / "empty").is_dir()
