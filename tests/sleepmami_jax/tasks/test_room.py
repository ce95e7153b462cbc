"""A task without a file of its own, from probabilities to statistics."""

import numpy as np
import pytest

from data_pipeline.tasks import BREATHING, SPINDLE, STAGES, Task, find_task
from sleepmami_jax.tasks import ROOMS, counted_events, rejected_events, rooms_of
from sleepmami_jax.tasks.room import event_probability, mean_probability
from tests.support.events import N2, Event, W, hypnogram, spans

SNORE = Task("snore", events=("snoring",), needs=("RESP",), shortest_s=2, longest_s=60, join_s=1)


def snoring(onset_s, duration_s):
    return Event("snoring", float(onset_s), float(duration_s))


def test_a_task_of_ones_own_from_the_record_alone():
    (room,) = rooms_of((STAGES, SNORE))
    yes = np.zeros(240)
    yes[10:12] = yes[13:20] = yes[100:101] = yes[130:200] = 0.8  # joined; too short; too long
    probs = np.stack([1 - yes, yes], 1)
    assert room.decode(probs, 0.5) == (snoring(10, 10),)
    marks = [snoring(10, 10), snoring(70, 10), Event("coughing", 80.0, 5.0)]
    counted = room.counted(marks, hypnogram((N2, 2), (W, 6)))
    assert spans(counted) == [(10, 20)]
    statistics = room.statistics({"snore": counted}, hypnogram((N2, 2), (W, 6)))
    assert statistics == {"snore_index_per_h": 60, "snore_events": 1, "snore_event_mean_s": 10}
    assert {key for key, *_ in room.rows} == statistics.keys() and room.index in room.definitions
    assert room.statistics({"snore": ()}, hypnogram((W, 2)))["snore_index_per_h"] is None


def test_of_several_classes_the_most_probable_names_the_event():
    task = Task("breath", events=("sigh", ("gasp", "hiccup")), needs=("RESP",))
    (room,) = rooms_of((task,))
    probs = np.tile([1.0, 0.0, 0.0], (60, 1))
    probs[10:20], probs[30:40] = [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]
    assert [(e.kind, e.onset_s) for e in room.decode(probs, 0.5)] == [("sigh", 10), ("gasp", 30)]
    assert event_probability(probs)[[0, 10]].tolist() == [0, 0.8]
    assert mean_probability(probs, Event("sigh", 5.0, 10.0), task) == pytest.approx(0.4)


def test_a_wave_is_decoded_in_eighths_of_a_second():
    (room,) = rooms_of((SPINDLE,))
    yes = np.zeros(30 * 8)
    yes[19:25] = 0.9  # 2.375 s, six eighths
    yes[40:43] = 0.9  # too short for a spindle
    yes[80:84] = yes[86:90] = 0.9  # a gap of 0.25 s joins, and one of more does not
    yes[93:97] = 0.7
    yes[200:240] = 0.9  # too long
    events = room.decode(np.stack([1 - yes, yes], 1), 0.5)
    assert [(e.kind, e.onset_s, e.duration_s) for e in events] == [
        ("spindle", 2.375, 0.75),
        ("spindle", 10.0, 1.25),
        ("spindle", 11.625, 0.5),
    ]
    probs = np.stack([1 - yes, yes], 1)
    assert [mean_probability(probs, e, SPINDLE) for e in events] == pytest.approx([0.9, 0.72, 0.7])


def test_tasks_with_a_kind_in_common_do_not_count_each_others_events():
    rooms = rooms_of((BREATHING, Task("obstructive", events=("obstructive_apnea",), needs=("RESP",))))
    breathing, obstructive = np.tile([1.0, 0.0, 0.0], (120, 1)), np.tile([1.0, 0.0], (120, 1))
    breathing[10:30], obstructive[50:70] = [0.0, 0.0, 1.0], [0.0, 1.0]
    probs, thresholds = {"breathing": breathing, "obstructive": obstructive}, {"breathing": 0.5, "obstructive": 0.5}
    counted = [counted_events(room, rooms, probs, thresholds, hypnogram((N2, 4))) for room in rooms]
    assert [spans(events) for events in counted] == [[(10, 30)], [(50, 70)]]


def test_what_is_rejected_has_its_reason():
    rooms = rooms_of((BREATHING, find_task("arousal"), find_task("limb_movement"), find_task("rera")))
    stages = hypnogram((N2, 10), (W, 10))
    breathing, arousal, legs, rera = (np.tile([1.0, *[0.0] * n], (600, 1)) for n in (2, 1, 1, 1))
    breathing[10:30] = breathing[100:108] = [0, 0, 1]  # counts; too short
    breathing[400:420] = [0, 1, 0]
    arousal[35:40] = arousal[45:50] = arousal[60:62] = [0, 1]  # counts; 5 s later; too short
    legs[30:32] = legs[80:82] = legs[83:85] = legs[120:135] = [0, 1]  # by the apnea; counts; 3 s later; too long
    rera[12:24] = [0, 1]
    probs = {"breathing": breathing, "arousal": arousal, "limb_movement": legs, "rera": rera}
    thresholds = dict.fromkeys(probs, 0.5)
    told = {
        room.task.name: [(e.kind, e.onset_s, why) for e, why in rejected_events(room, rooms, probs, thresholds, stages)]
        for room in rooms
    }
    assert told == {
        "breathing": [("apnea", 100, "shorter than 10 s"), ("hypopnea", 400, "in wake")],
        "arousal": [("arousal", 45, "less than 10 s after another"), ("arousal", 60, "shorter than 3 s")],
        "limb_movement": [
            ("limb_movement", 30, "within 0.5 s of a breathing event"),
            ("limb_movement", 83, "less than 5 s after the onset of another"),
            ("limb_movement", 120, "longer than 10 s"),
        ],
        "rera": [("rera", 12, "part of a breathing event")],
    }
    counted = [counted_events(room, rooms, probs, thresholds, stages) for room in rooms]
    assert [spans(events) for events in counted] == [[(10, 30)], [(35, 40)], [(80, 82)], []]


def test_rooms_keep_the_order_and_the_record_of_the_model():
    assert [room.task.name for room in rooms_of((SNORE, STAGES, BREATHING))] == ["snore", "breathing"]
    assert all(find_task(room.task.name) == room.task for room in ROOMS)
    assert all(
        room.index in room.definitions or room.index in dict.fromkeys(k for k, *_ in room.rows) for room in ROOMS
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My snore"}, "lower-case word"),
        ({"name": "night"}, "beside the tasks among the metrics"),
        ({"name": "stages"}, "'stages' alone is of that kind"),
        ({"kind": "stages"}, "'stages' alone is of that kind"),
        ({"events": ()}, "at least one kind"),
        ({"events": ("a", ("b", "a"))}, "'a' is in two classes"),
        ({"events": ("Snoring sound",)}, "lower-case words"),
        ({"needs": ("NOSE",)}, "expected some of"),
        ({"needs": ()}, "expected some of"),
        ({"shortest_s": 70}, "shortest_s <= longest_s"),
        ({"join_s": -1}, "join_s >= 0"),
        ({"loss_weight": 0}, "more than 0"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(change, message):
    fields = {"name": "snore", "events": ("snoring",), "needs": ("RESP",), "longest_s": 60} | change
    with pytest.raises(ValueError, match=message):
        Task(**fields)


def test_when_a_task_counts_as_scored_and_what_it_lacks():
    assert BREATHING.was_scored({"hypopnea", "central_apnea"}) and not BREATHING.was_scored({"hypopnea"})
    types = find_task("apnea_type")
    assert types.was_scored({"central_apnea"}) and not types.was_scored({"apnea", "hypopnea"})
    assert not BREATHING.was_scored({"apnea", "central_apnea", "stages"}) and STAGES.was_scored({"stages"})
    assert BREATHING.lacks({"SPO2"}) == "" and find_task("limb_movement").lacks({"LEG_R"}) == ""
    assert BREATHING.lacks({"C4"}) == "no breathing sensor (RESP) and no oximeter (SPO2)"
    assert find_task("limb_movement").lacks({"CHIN"}).startswith("no left leg EMG")
    with pytest.raises(ValueError, match="'snor' is no task; there are stages, breathing"):
        find_task("snor")
