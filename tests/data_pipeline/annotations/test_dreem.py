"""Dreem's lists of stages."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from data_pipeline.annotations import read_scoring
from tests.support.scorings import write

REAL = os.environ.get("SLEEPMAMI_REAL_DATA")


needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")


W, N1, N2, N3, REM = range(5)


def test_dreems_list_of_stages(tmp_path):
    scoring, notes = read_scoring(write(tmp_path / "n.json", [-1, 0, 1, 2, 3, 4, 4]), 6 * 30)
    assert scoring.stages.tolist() == [-1, W, N1, N2, N3, REM] and scoring.scored == {"stages"}
    assert any("30 s of scored stages lie past the end" in note for note in notes)


@needs_real
def test_real_dreem_hypnograms(tmp_path):
    counts = {}
    with zipfile.ZipFile(Path(REAL) / "dod_scorers.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        for name in names[::20]:
            codes = json.loads(archive.read(name))
            path = write(tmp_path / f"{len(counts)}.json", archive.read(name))
            scoring, _ = read_scoring(path, 30 * len(codes))
            assert scoring.stages.tolist() == codes
            counts[name] = len(set(codes))
    assert len(names) == 400 and len(counts) == 20 and max(counts.values()) == 6  # all five stages and -1
