"""Finding nights, whatever the cohort."""

from pathlib import Path

import pytest

from data_pipeline.cohorts import Source, find_nights


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "training"}, "split 'training'; expected one of"),
        ({"scored": ("arousals",)}, "scored .'arousals'.; expected 'stages' or"),
        ({"dialect": "foo"}, "dialect 'foo'; expected one of .*edfplus"),
        ({"recording": "n.edf"}, "expected a Path as recording"),
        ({"scoring": [Path("n.csv")]}, "tuples of Paths as scoring"),
        ({"subject_id": None}, "subject_id: expected text, found a NoneType"),
    ],
)
def test_an_adapters_slip_is_told_at_once(wrong, message):
    with pytest.raises(ValueError, match=f"Source of night 'n': {'.*' if 'Path' in message else ''}{message}"):
        Source(**({"night_id": "n", "subject_id": "p", "site": "", "recording": Path("n.edf")} | wrong))


def test_inputs_without_recordings_and_unknown_cohorts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no recording found"):
        find_nights([tmp_path])
    with pytest.raises(ValueError, match="no such file"):
        find_nights([tmp_path / "x"])
    with pytest.raises(ValueError, match=r"no cohort 'shs'; expected one of .*generic"):
        find_nights([tmp_path], "shs")
