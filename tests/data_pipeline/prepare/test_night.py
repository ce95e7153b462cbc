"""One night: in its shard, or refused with the reason; what is no recording's fault stops the run."""

import json

import pytest

from data_pipeline.prepare.night import OutputError
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.summary import Refusal
from data_pipeline.shards.manifest import read_manifest
from tests.support.loaders import (
    cannot_read_two,
    does_not_see,
    ends_early,
    loses_the_next,
    still_copied,
    stops_for_want_of_space,
)
from tests.support.nights import files, write_recordings
from tests.support.preparing import prepared
from tests.support.recordings import write_edf


def test_a_bad_recording_is_listed_and_stops_no_other(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, "bad", "bug", 2])
    summary = prepared(folder, tmp_path / "out")
    assert [n.night_id for n in summary.nights] == ["n1", "n2"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [(line["night_id"], line["file"]) for line in lines] == [
        ("nbad", "nbad.edf"),
        ("nbug", "nbug.edf"),
    ]
    assert lines[0]["reason"] == "nbad.edf: not a recording; expected a seed"  # and not the folder's name
    assert "unexpected LookupError: nobody foresaw this" in lines[1]["reason"]
    table = summary.table()
    assert "accepted  2 nights" in table and "rejected  2 recordings" in table and "nbad.edf: not a" in table


def test_output_that_cannot_be_written_stops_the_run_and_refuses_nothing(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    with pytest.raises(OutputError, match=r"n\d.array_record: cannot be written on .*: .*File too large.* again"):
        prepare([folder], out, workers=2, load=stops_for_want_of_space)
    assert not (out / "rejected.jsonl").exists()
    prepared(folder, out)
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_a_source_that_cannot_be_read_is_refused_and_stops_nothing(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", load=cannot_read_two)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    assert [(r.night_id, r.reason) for r in summary.rejected] == [("n2", "n2.edf: Input/output error")]


def test_a_source_that_is_gone_is_refused_but_one_that_only_a_worker_misses_stops_the_run(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(RuntimeError, match=r"a worker does not see a file that is here, .*n1\.edf"):
        prepare([folder], tmp_path / "out", load=does_not_see)
    assert not (tmp_path / "out" / "rejected.jsonl").exists()
    summary = prepare([folder], tmp_path / "out", load=loses_the_next)
    assert [r.reason for r in summary.rejected] == ["n2.edf: no such file any more"]


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])
    summary = prepare([folder], tmp_path / "out", load=still_copied)
    assert not summary.nights and "changed while it was read" in summary.rejected[0].reason


def test_a_recording_that_ends_early_is_refused_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipeline.night.BLOCK_S", 60)
    summary = prepare([write_recordings(tmp_path / "in", [1, 2, 3])], tmp_path / "out", load=ends_early)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    (rejection,) = summary.rejected
    assert rejection.reason == "n2.edf: cannot be read any further: bus error"


def test_a_scoring_that_cannot_be_read_is_told_from_a_recording(tmp_path):
    folder = tmp_path / "in of Jane Doe"
    folder.mkdir()
    for name in ("a", "b"):
        write_edf(folder / f"{name}.edf", {"C4-M1": (128, "uV")})
    (folder / "a.csv").write_text("when,what\n0,N2\n")
    (folder / "b.edf").write_bytes((folder / "b.edf").read_bytes()[:300])
    (recording,) = prepare([folder], tmp_path / "out").rejected
    (night,) = read_manifest(tmp_path / "out").nights
    assert night.notes[-1].startswith("Scoring that is not used, a.csv: none of the 2 cells") and not night.scored
    (scoring, _) = prepare([folder], tmp_path / "strict", strict=True).rejected
    assert (scoring.file, scoring.kind) == ("a.edf", Refusal.SCORING)
    assert scoring.reason.startswith("a.csv: none of the 2 cells")
    assert recording.kind is Refusal.RECORDING and recording.reason.startswith("b.edf: the header ends")
    assert "Jane" not in (tmp_path / "out" / "rejected.jsonl").read_text()
