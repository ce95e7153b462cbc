"""What is none of the dialects is refused, by name and place."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.annotations.text import LARGEST_BYTES
from data_pipeline.night import STAGES, RecordingError
from tests.support.scorings import write


@pytest.mark.parametrize(
    ("name", "content", "dialect", "message"),
    [
        ("a.json", "[{", None, "damaged, not JSON"),
        ("a.json", "[" * 100_000, None, "damaged, not JSON"),
        ("a.json", {"events": []}, None, "a JSON dict, expected a list"),
        ("a.json", [{"onset": 1, "type": "arousal"}, "x"], None, "item 2: str, expected an object"),
        ("a.json", [{"onset": "soon", "type": "arousal"}], None, "item 1: column 'onset' holds words"),
        ("a.json", '[{"onset": NaN, "type": "arousal"}]', None, "item 1: column 'onset' holds words"),
        ("a.json", [{"onset": [1], "type": "arousal"}], None, "item 1: 'onset' is a list"),
        ("a.json", [{"when": 1}], None, "names an onset column"),
        ("a.json", [{"onset": 0, "duration": 30, "stage": 4}], None, "may be REM or R&K stage 4"),
        ("a.json", [0, 2, 5], None, "epoch 2: 5 is no stage of a Dreem"),
        ("a.json", [0, True], None, "epoch 1: True is no stage"),
        ("a.json", [0, 1.5], None, "epoch 1: 1.5 is no stage"),
        ("a.txt", "0\n\n1\n", "isruc", "line 2: no stage code"),
        ("a.txt", "0\nW\n", "isruc", "line 2: no stage code"),
        ("a.txt", "0\n" * 20_161, "isruc", "20161 epochs, expected at most 20160"),
        ("a.txt", "", "isruc", "line 1: no stage code"),
        ("a.txt", b"\x01\x02\0\0", "isruc", "not text"),
        ("a.tal", b"+0\x1530\x14N2\x14\0hello\0", None, "byte 10: not a time-stamped annotation list"),
        ("a.tal", b"\0\0", None, "no stage and no event"),
    ],
)
def test_what_is_none_of_these_is_refused(tmp_path, name, content, dialect, message):
    path = write(tmp_path / name, content)
    with pytest.raises(RecordingError, match=message) as error:
        read_scoring(path, 90, dialect=dialect)
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".tal"])
def test_a_huge_file_is_not_read_into_memory(tmp_path, suffix):
    path = tmp_path / f"n{suffix}"
    with path.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(RecordingError, match="larger than 16 MB"):
        read_scoring(path, 60)


REAL = os.environ.get("SLEEPMAMI_REAL_DATA")


needs_real = pytest.mark.skipif(not REAL, reason="SLEEPMAMI_REAL_DATA names no folder of real recordings")


W, N1, N2, N3, REM = range(5)


def counts(scoring) -> dict[str, int]:
    return {STAGES[c] if c >= 0 else "?": n for c, n in Counter(scoring.stages.tolist()).items()}


@needs_real
def test_real_scorings():
    real = Path(REAL)
    scoring, _ = read_scoring(real / "ucddb018/hypnogram.csv", 24_660)
    assert counts(scoring) == {"W": 328, "REM": 19, "N1": 58, "N2": 280, "N3": 137}
    scoring, _ = read_scoring(real / "ucddb018/respiratory_events.csv", 24_660)
    assert len(scoring.events) == 9 and {e.kind for e in scoring.events} == {"hypopnea"}
    for expert, n in ((1, 52), (2, 115)):
        path = real / f"dreams_spindles/excerpt1_spindles_expert{expert}.csv"
        assert len(read_scoring(path, 1800)[0].events) == n
    scoring, _ = read_scoring(real / "dreams_spindles/excerpt4_hypnogram.csv", 1800)
    assert (scoring.stages >= 0).all() and len(scoring.stages) == 60
    scoring, _ = read_scoring(real / "odd/wfdb_test_edfann.edf", 26_000)
    assert counts(scoring) == {"W": 151, "N1": 109, "N2": 430, "N3": 23, "REM": 141, "?": 12}
    edf, _ = read_scoring(real / "sleep_edf_crop/SC4001EC-Hypnogram.edf", 79_500)
    bdf, _ = read_scoring(real / "odd/edfio_SC4001EC-Hypnogram.bdf", 79_500)
    np.testing.assert_array_equal(edf.stages, bdf.stages)
    assert edf.stages[1021] == N1  # 30,630 s
