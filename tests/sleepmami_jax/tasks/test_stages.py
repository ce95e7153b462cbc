"""Sleep statistics, against small nights worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepmami_jax.tasks.arousal import arousal_statistics
from sleepmami_jax.tasks.breathing import breathing_statistics
from sleepmami_jax.tasks.stages import architecture, in_bed, sleep_cycles, sleep_statistics
from tests.support.events import N1, N2, N3, R, W, hypnogram


def test_sleep_statistics_by_hand():
    stages = hypnogram((W, 20), (N1, 10), (N2, 40), (W, 4), (N3, 40), (-1, 2), (R, 20), (W, 10))
    s = sleep_statistics(stages)
    assert s["trt_min"] == 73 and s["tst_min"] == 55 and s["unscored_min"] == 1
    assert s["sol_min"] == 10 and s["lps_min"] == 10 and s["spt_min"] == 58
    assert s["waso_spt_min"] == 2 and s["waso_aasm_min"] == 73 - 10 - 55
    assert s["se_pct"] == pytest.approx(100 * 55 / 73) and s["sme_pct"] == pytest.approx(100 * 55 / 58)
    assert s["rem_latency_min"] == 48 and s["rem_pct_tst"] == pytest.approx(100 * 10 / 55)
    assert s["awakenings"] == 1 and s["cycles"] == 1
    assert s["w_min"] == 17 and s["n3_min"] == 20


def test_persistent_sleep_needs_ten_unbroken_minutes():
    stages = hypnogram((W, 4), (N1, 19), (W, 1), (N2, 20))
    assert sleep_statistics(stages)["sol_min"] == 2 and sleep_statistics(stages)["lps_min"] == 12
    assert sleep_statistics(stages[:-1])["lps_min"] is None


@pytest.mark.parametrize("stages", [hypnogram((W, 10)), hypnogram((-1, 10))], ids=["wake", "unscored"])
def test_no_sleep_gives_none_and_not_nan(stages):
    s = sleep_statistics(stages)
    assert s["tst_min"] == 0 and s["se_pct"] == 0 and s["cycles"] == 0
    assert s["sol_min"] is s["sme_pct"] is s["waso_aasm_min"] is s["rem_latency_min"] is s["n2_pct_tst"] is None
    assert breathing_statistics({"breathing": ()}, stages)["ahi_per_h"] is None
    assert breathing_statistics({"breathing": ()}, stages)["ahi_severity"] is None
    assert arousal_statistics({"arousal": (), "breathing": ()}, stages)["arousal_index_per_h"] is None


def test_stages_out_of_range_are_refused():
    for wrong in (np.array([], np.int8), np.array([5]), np.array([-2])):
        with pytest.raises(ValueError, match="codes from -1 to 4"):
            sleep_statistics(wrong)


def test_lights_off_and_on_bound_the_night():
    stages = hypnogram((W, 30), (N2, 60), (W, 30))
    assert sleep_statistics(stages)["se_pct"] == 50
    s = sleep_statistics(in_bed(stages, (600.0, 2995.0)))
    assert s["trt_min"] == 40 and s["sol_min"] == 5 and s["se_pct"] == 75
    assert len(in_bed(stages, (600.0, None))) == 100 and len(in_bed(stages, (None, 2700.0))) == 90
    for nothing in ((None, None), (3600.0, None)):
        assert len(in_bed(stages, nothing)) == 120


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=120))
def test_times_add_up(codes):
    s = sleep_statistics(np.array(codes, np.int8))
    parts = [s[f"{name}_min"] for name in ("w", "n1", "n2", "n3", "rem", "unscored")]
    assert sum(parts) == s["trt_min"] and sum(parts[1:5]) == s["tst_min"]
    if s["tst_min"]:
        before = codes[: next(k for k, code in enumerate(codes) if code > 0)]
        in_bed_min = s["trt_min"] - before.count(-1) / 2
        assert s["sol_min"] + s["tst_min"] + s["waso_aasm_min"] == in_bed_min
        assert s["waso_spt_min"] <= s["waso_aasm_min"]
    assert all(value is None or np.isfinite(value) for value in s.values())


def test_cycles():
    cycle = [(N2, 60), (R, 20)]
    assert sleep_cycles(hypnogram((W, 10), *cycle, *cycle)) == [(10, 90), (90, 170)]
    assert sleep_cycles(hypnogram((N2, 60), (R, 2))) == [(0, 62)]  # the first REM period may be short
    short = hypnogram(*cycle, (N2, 60), (R, 9), (N2, 40), (R, 20))  # the second may not
    assert sleep_cycles(short) == [(0, 80), (80, 209)]
    assert sleep_cycles(hypnogram((N2, 60), (R, 10), (W, 29), (R, 10))) == [(0, 109)]  # one REM period
    assert sleep_cycles(hypnogram((N2, 29), (R, 20))) == []  # too little before REM
    assert sleep_cycles(hypnogram((N2, 200))) == []


@pytest.mark.parametrize("lost", [[-1] * 120, [-1] * 60 + [0] * 4 + [-1] * 60])
def test_an_hour_that_could_not_be_scored_is_no_latency_and_no_waking(lost):
    awake = lost.count(0) / 2
    s = sleep_statistics(np.array([*lost, *[0] * 20, *[2] * 40, 0, 0]))
    assert (s["sol_min"], s["lps_min"], s["waso_aasm_min"], s["unscored_min"]) == (10 + awake, 10 + awake, 1, 60)


def test_sleep_by_third_of_the_night_and_by_cycle():
    stages = np.array([W] * 10 + [N2] * 40 + [R] * 10 + [N3] * 40 + [W] * 10 + [R] * 20 + [W] * 20)
    found = architecture(stages)
    assert [found[f"third{n}_tst_min"] for n in (1, 2, 3)] == [20, 25, 10]
    assert [found[f"third{n}_n3_min"] for n in (1, 2, 3)] == [0, 20, 0]
    assert [found[f"cycle{n}_{what}min"] for n in (1, 2) for what in ("", "tst_", "rem_")] == [25, 25, 5, 35, 30, 10]
    assert "third4_tst_min" not in found and "cycle3_min" not in found
    assert sum(found[f"third{n}_tst_min"] for n in (1, 2, 3)) == sleep_statistics(stages)["tst_min"]
