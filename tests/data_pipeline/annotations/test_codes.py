"""Which coding a night's numbers are of is told by the order of stages, or asked for."""

import numpy as np
import pytest

from data_pipeline.annotations.codes import CODINGS, REM_IS_4, S3, S4, UnclearCodes, coding_of, stage_names

USUAL = next(iter(CODINGS))
CYCLE = ("W", "S1", "S2", "S3", "S2", "S1", "REM", "W", "S1", "S2", "S3", "S2", "REM", "S1", "S2", "REM", "S2", "W")
STAGE = {"W": 0, "S1": 1, "S2": 2, "S3": S3, "REM": 5}


def night(coding: str, cycles: int = 5) -> list[int]:
    """Codes of a night, as a person who uses this coding writes them."""
    code_of = {stage: code for code, stage in reversed(CODINGS[coding].items())}
    stages = np.repeat([STAGE[name] for name in CYCLE * cycles], 6)
    return [code_of.get(stage, code_of.get(S4)) for stage in stages.tolist()]


def test_the_usual_coding_and_the_one_with_rem_4_are_read():
    assert coding_of(night(USUAL)) == USUAL and coding_of(night(REM_IS_4)) == REM_IS_4
    assert stage_names([str(code) for code in night(REM_IS_4)])["4"] == "REM"
    rk = [0, 1, 2, 3, 4, 3, 4, 3, 2, 3, 4, 3, 2, 1] * 4  # without REM
    assert coding_of(rk) == USUAL and stage_names([f"{code}.0" for code in rk])["4.0"] == "N3"


@pytest.mark.parametrize("coding", [c for c in CODINGS if c not in (USUAL, REM_IS_4)])
def test_others_are_asked_for(coding):
    with pytest.raises(UnclearCodes, match="Write names"):
        coding_of(night(coding))


@pytest.mark.parametrize(
    ("codes", "question"),
    [
        ([0, 1, 2, 3, 4], "4 without any 5 may be REM or R&K stage 4"),
        ([10, 10, 1, 2, 3, 5], "no stage code 0, and 10 may be wake"),
        ([1, 2, 3, 4, 5], "without any 0"),
    ],
)
def test_what_may_be_two_things_is_asked_for(codes, question):
    with pytest.raises(UnclearCodes, match=question):
        coding_of(codes)


def test_a_few_codes_are_read_as_usual():
    assert stage_names(["0.0", "2", "5", "-1", "9", "11", "N2"]) == {
        "0.0": "W", "2": "N2", "5": "REM", "-1": "?", "9": "?", "11": "11", "N2": "N2",
    }  # fmt: skip
    assert coding_of([0, 1, 2, 3, 5] * 20) == USUAL  # N3 before REM throughout, and no other fits better
    assert coding_of([]) == USUAL and coding_of([-1, 9]) == USUAL
