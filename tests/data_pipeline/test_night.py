"""The vocabulary refuses what it has no word for."""

import pytest

from data_pipeline.night import BLOCK_S, Demographics, blocks


@pytest.mark.parametrize(
    "wrong", [{"sex": "female"}, {"age_years": "45"}, {"age_years": -5.0}, {"bmi": 0.0025}, {"bmi": 2250}]
)
def test_demographics_in_other_units_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"Demographics.{name}: expected"):
        Demographics(**wrong)


def test_blocks_cover_a_night_once_and_the_last_is_long_enough_to_judge():
    for duration_s in (0, 1, 29, 300, 599, 600, 899, 900, 901, 3890, 28_800):
        spans = list(blocks(duration_s))
        assert [s for span in spans for s in range(*span)] == list(range(duration_s))
        assert all(start_s % BLOCK_S == 0 for start_s, _ in spans)
        assert len(spans) < 2 or spans[-1][1] - spans[-1][0] >= BLOCK_S // 2


def test_an_age_is_written_in_one_way():
    """A manifest that is read and written again keeps its bytes, also where an adapter gives whole numbers."""
    assert repr(Demographics(41, "F", 25)) == repr(Demographics(41.0, "F", 25.0))
