"""Any number of processes gives the same bytes, and one that dies takes its own night only."""

from data_pipeline.prepare.run import prepare
from tests.support.loaders import (
    dies,
)
from tests.support.nights import files, write_recordings
from tests.support.preparing import prepared


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3, "bad"])
    seen = []
    prepared(folder, tmp_path / "one", progress=lambda done, total, night: seen.append((done, total)))
    prepared(folder, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_worker_that_dies_takes_only_its_own_night(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", workers=2, load=dies)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    assert [(r.night_id, "died" in r.reason) for r in summary.rejected] == [("n2", True)]
