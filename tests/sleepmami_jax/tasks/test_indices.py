"""Each rule on events written out by hand: what counts, what does not and why, and per how much sleep."""

import numpy as np
import pytest

from data_pipeline.night import Event, EventKind
from sleepmami_jax.tasks.indices import PLM, RESPIRATORY, SPONTANEOUS, Listed, Slept, count, parts_of, rules_of
from tests.support.events import APNEA, CENTRAL, N2, N3, OBSTRUCTIVE, R, W, arousal, hypnogram, hypopnea, limb_movement

STAGES = hypnogram((W, 20), (N2, 60), (N3, 60), (R, 60), (N2, 60))  # 2 h of sleep, 30 min of each
TASKS = ("breathing", "arousal", "oximetry", "limb_movement", "rera", "apnea_type", "spindle")


def slept(**parts):
    asleep = np.repeat(STAGES > 0, 30)
    return Slept(dict.fromkeys(TASKS, asleep), parts_of(STAGES, [(20, 200)]) | parts)


def breathing(event, fall=0.0, aroused=False, **more):
    return Listed("breathing", event, fall_percent=fall, aroused=aroused, **more)


def counted(*listed, known=TASKS, child=False, **parts):
    index_of = {
        "breathing": "ahi_per_h",
        "arousal": "arousal_index_per_h",
        "limb_movement": "limb_movement_index_per_h",
    }
    return count(rules_of(index_of, child, 1), listed, slept(**parts), known)


def test_a_hypopnea_counts_by_what_follows_it_and_an_apnea_by_itself():
    found = counted(
        breathing(hypopnea(700, 20), fall=3.0),
        breathing(hypopnea(800, 20), aroused=True),
        breathing(hypopnea(900, 20), fall=4.0),
        breathing(hypopnea(1000, 20), fall=2.9),
        breathing(Event(APNEA, 1100.0, 20.0)),
        breathing(hypopnea(1200, 20), fall=5.0, left_out="unsure"),
    )
    of = [{"ahi", "ahi_1a", "ahi_1b"} & set(names) for names in found.counts_as]
    assert of == [{"ahi", "ahi_1a"}, {"ahi", "ahi_1a"}, {"ahi", "ahi_1a", "ahi_1b"}, {"ahi"}, of[2], set()]
    v = found.values
    assert (v["ahi_per_h"], v["ahi_1a_per_h"], v["ahi_1b_per_h"]) == (2.5, 2, 1)
    assert found.why_not[0] == "ahi_1b: no desaturation >= 4 % within the window"
    lacks = "ahi_1a: no desaturation >= 3 % within the window, and no arousal; ahi_1b: no desaturation >= 4 %"
    assert found.why_not[3].startswith(lacks)
    assert (
        counted(breathing(hypopnea(700, 20), fall=None)).why_not[0].startswith("ahi_1a: no valid SpO2 beside it, and")
    )
    assert found.why_not[2] == found.why_not[4] == "" and found.why_not[5] == "unsure"


def test_an_index_that_needs_what_is_not_there_is_not_said():
    event = breathing(hypopnea(700, 20))
    assert counted(event, known=("breathing",)).values.keys() >= {"ahi_per_h", "hypopnea_index_per_h", "ahi_rem_per_h"}
    assert "ahi_1a_per_h" not in counted(event, known=("breathing", "oximetry")).values
    assert "ahi_1b_per_h" in counted(event, known=("breathing", "oximetry")).values
    assert not {k for k in counted(event, known=("breathing",)).values if "supine" in k or "cpap" in k or "obs" in k}


def test_types_reras_and_children():
    rera = Listed("rera", Event(EventKind.RERA, 2000.0, 20.0), fall_percent=0.0, aroused=True)
    alone = Listed("rera", Event(EventKind.RERA, 2100.0, 20.0), fall_percent=0.0, aroused=False)
    short, obstructive = Event(CENTRAL, 900.0, 12.0), Event(OBSTRUCTIVE, 1000.0, 12.0)
    found = counted(breathing(short), breathing(obstructive), rera, alone)
    v = found.values
    assert (v["central_apnea_index_per_h"], v["obstructive_apnea_index_per_h"], v["rdi_per_h"]) == (0.5, 0.5, 1.5)
    assert found.why_not[3] == "rdi: no arousal within the window"
    child = counted(breathing(short), breathing(obstructive), child=True)
    assert child.values["ahi_1a_per_h"] == 0.5 and "ahi_1b_per_h" not in child.values
    assert "central, shorter than 20 s" in child.why_not[0] and child.why_not[1] == ""
    assert counted(breathing(short, aroused=True), child=True).values["ahi_1a_per_h"] == 0.5


def test_parts_of_the_sleep_have_their_own_hours():
    rem = 30 * 140
    supine = np.arange(len(STAGES) * 30) < 30 * 100
    events = [breathing(hypopnea(s, 20)) for s in (590, 700, rem + 1, rem + 100)]  # the first begins in wake
    v = counted(*events, supine=supine, not_supine=~supine).values
    assert (v["ahi_per_h"], v["ahi_rem_per_h"], v["ahi_nrem_per_h"]) == (2, 4, pytest.approx(1 / 1.5))
    assert (v["ahi_supine_per_h"], v["ahi_not_supine_per_h"]) == (
        pytest.approx(1 / (80 / 120)),
        pytest.approx(2 / (4 / 3)),
    )
    brief = np.arange(len(STAGES) * 30) < 30 * 49
    assert counted(*events, supine=brief).values["ahi_supine_per_h"] is None  # 14.5 min
    assert "ahi_supine" not in counted(*events, supine=brief).counts_as[1]


def test_arousals_by_cause_movements_in_series_falls_and_spindles():
    causes = [Listed("arousal", arousal(s), cause=c) for s, c in ((700, RESPIRATORY), (800, PLM), (900, SPONTANEOUS))]
    legs = [Listed("limb_movement", limb_movement(700 + 30 * n), periodic=n < 4) for n in range(5)]
    falls = [
        Listed("oximetry", Event(EventKind.DESATURATION, s, 30.0), fall_percent=d) for s, d in ((700.0, 3), (900.0, 4))
    ]
    waves = [
        Listed("spindle", Event(EventKind.SPINDLE, s, 1.0)) for s in (650.0, 2500.0, 2600.0, 30 * 150.0, 30 * 210.0)
    ]
    found = counted(*causes, *legs, *falls, *waves)
    v = found.values
    names = ("respiratory_arousal_index", "plm_arousal_index", "spontaneous_arousal_index")
    assert [v[f"{name}_per_h"] for name in names] == [0.5, 0.5, 0.5] and v["arousal_index_per_h"] == 1.5
    assert (v["plm_index_per_h"], v["limb_movement_index_per_h"]) == (2, 2.5)
    assert found.why_not[7] == "plm_index: in no series of at least four, 5 to 90 s from onset to onset"
    assert (v["odi3_per_h"], v["odi4_per_h"]) == (1, 0.5)
    density = [v[f"spindle_density_{part}_per_min"] for part in ("n2_n3", "n2", "n3", "cycle1")]
    assert density == pytest.approx([4 / 90, 2 / 60, 2 / 30, 3 / 60])
