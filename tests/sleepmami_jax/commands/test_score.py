"""Of several recordings each costs itself only."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipeline.night import RecordingError
from sleepmami_jax.commands import score


class Scorer:
    """Stands for a model: refuses what is called bad."""

    def __init__(self):
        self.outs = []

    def score(self, recording, scoring, *, out, montage, calibrate, rules):
        if recording.stem == "bad":
            raise RecordingError(recording, "the file is empty.")
        self.outs.append(out)
        return SimpleNamespace(warnings=(), missing=(), agreement={})


def run(monkeypatch, *recordings):
    scorer = Scorer()
    monkeypatch.setattr(score, "loaded", lambda args: scorer)
    paths = list(map(Path, recordings))
    return score.run(
        Namespace(recordings=paths, scoring=[], out=Path("out"), montage=None, calibrate=None, rules=None)
    ), scorer.outs


def test_a_bad_recording_is_named_and_the_others_are_scored(monkeypatch, capsys):
    assert run(monkeypatch, "bad.edf", "good.edf", "fine.edf") == (1, [Path("out/good"), Path("out/fine")])
    said = capsys.readouterr().err
    assert "bad.edf: the file is empty." in said and "scored 2 of 3 recordings; not bad.edf" in said
    with pytest.raises(RecordingError):
        run(monkeypatch, "bad.edf")
    assert run(monkeypatch, "good.edf") == (0, [Path("out")])


def test_recordings_of_one_name_have_each_a_folder(monkeypatch):
    assert run(monkeypatch, "a/n.edf", "b/N.edf", "n-2.edf", "c/n.edf") == (
        0,
        [Path("out/n"), Path("out/N-2"), Path("out/n-2-2"), Path("out/n-3")],
    )
