"""One recording is scored into the folder that is named, several below it; a bad one of several ends in status 1."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipeline.prepare.summary import Refusal, Rejection
from sleepmami_jax.commands import score
from sleepmami_jax.many import run
from sleepmami_jax.many.run import Summary


@pytest.fixture
def asked(monkeypatch):
    """What the command asked for: `(out,)` of one recording, `(inputs, out, workers)` of many."""
    asked = []

    def one(recording, scoring, *, out, montage, calibrate, rules):
        asked.append((out,))
        return SimpleNamespace(warnings=(), missing=(), agreement={})

    def many(inputs, out, *, workers, **options):
        asked.append((tuple(inputs), out, workers))
        why = {"bad.edf": "it is empty", "worse.edf": "worse.edf: 9 s long"}  # a reader names the file itself
        bad = [Rejection(p.stem, p.name, Refusal.RECORDING, "", why[p.name]) for p in inputs if p.name in why]
        return Summary(("good",), 1, tuple(bad), ("index.html", "nights.csv"))

    monkeypatch.setattr(score, "loaded", lambda args: SimpleNamespace(score=one))
    monkeypatch.setattr(run, "score_many", many)
    return asked


def command(*recordings, **options):
    given = {"scoring": [], "out": Path("out"), "montage": None, "calibrate": None, "model": "bundled"}
    given |= {"workers": 2, "rules": None, "cohort": "generic"}
    return score.run(Namespace(recordings=list(map(Path, recordings)), **{**given, **options}))


def test_one_recording_goes_into_the_folder_and_several_or_a_folder_below_it(asked, tmp_path):
    assert command("good.edf") == 0 and asked.pop() == (Path("out"),)
    for inputs in (("a.edf", "b.edf"), (str(tmp_path),), ("list.txt",)):
        assert command(*inputs) == 0 and asked.pop() == (tuple(map(Path, inputs)), Path("out"), 2)
    with pytest.raises(ValueError, match="belong to one recording"):
        command("a.edf", "b.edf", scoring=[Path("a.csv")])


def test_a_bad_recording_of_several_is_named_and_ends_in_status_1(asked, capsys):
    assert command("bad.edf", "worse.edf", "good.edf") == 1
    said = capsys.readouterr()
    assert "not scored: bad.edf: it is empty\n" in said.err and "not scored: worse.edf: 9 s long\n" in said.err
    assert "scored 1 of 3 recordings, 1 of them before" in said.out
