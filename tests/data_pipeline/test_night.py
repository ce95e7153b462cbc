"""A night in blocks."""

from data_pipeline.night import BLOCK_S, blocks


def test_blocks_cover_a_night_once_and_the_last_is_long_enough_to_judge():
    for duration_s in (0, 1, 29, 300, 599, 600, 899, 900, 901, 3890, 28_800):
        spans = list(blocks(duration_s))
        assert [s for span in spans for s in range(*span)] == list(range(duration_s))
        assert all(start_s % BLOCK_S == 0 for start_s, _ in spans)
        assert len(spans) < 2 or spans[-1][1] - spans[-1][0] >= BLOCK_S // 2
