"""Matching of events, and what is counted from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.night import Event, EventKind
from sleepmami_jax.metrics.events import event_metrics, fit_threshold, index_metrics, iou, match, type_metrics
from sleepmami_jax.tasks import breathing


def event(onset_s, duration_s):
    return Event(EventKind.HYPOPNEA, float(onset_s), float(duration_s))


EVENTS = st.lists(st.builds(event, st.integers(0, 200), st.integers(0, 40)), max_size=8)


def test_iou_by_hand():
    overlaps = iou([event(0, 10)], [event(5, 10), event(10, 5), event(0, 10), event(5, 0)])
    assert overlaps.tolist() == [[pytest.approx(1 / 3), 0, 1, 0]]
    assert iou([], [event(0, 1)]).shape == (0, 1)


def test_greedy_matching_would_lose_a_pair():
    reference = [event(0, 10), event(10, 20)]
    predicted = [
        event(8, 20),
        event(29, 5),
    ]  # the first fits the second reference best, but the first has no other
    assert sorted(match(reference, predicted)) == [(0, 0), (1, 1)]


def test_one_long_prediction_finds_one_event():
    reference = [event(0, 10), event(20, 10), event(40, 10)]
    m = event_metrics([reference], [[event(0, 60)]])
    assert (m["n_matched"], m["precision"], m["recall"], m["f1"]) == (1, 1, pytest.approx(1 / 3), 0.5)
    assert m["f1_iou"]["0.1"] == 0.5 and m["f1_iou"]["0.3"] == 0


@settings(max_examples=60)
@given(EVENTS, EVENTS, st.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_matching_is_one_to_one_symmetric_and_maximal(reference, predicted, min_iou):
    pairs = match(reference, predicted, min_iou)
    overlap = iou(reference, predicted)
    assert len({i for i, _ in pairs}) == len(pairs) == len({j for _, j in pairs})
    assert all(overlap[i, j] > 0 and overlap[i, j] >= min_iou - 1e-9 for i, j in pairs)
    assert len(match(predicted, reference, min_iou)) == len(pairs)
    left = [
        (i, j)
        for i in set(range(len(reference))) - {i for i, _ in pairs}
        for j in set(range(len(predicted))) - {j for _, j in pairs}
    ]
    assert not any(overlap[i, j] > 0 and overlap[i, j] >= min_iou for i, j in left)
    assert len(match(reference, predicted, 0.5)) <= len(pairs)


@given(EVENTS.filter(lambda events: all(e.duration_s for e in events)))
def test_a_list_matches_itself(events):
    m = event_metrics([events], [events])
    assert m["n_matched"] == len(events)
    assert m["f1"] == (1 if events else None) and m["f1_iou"]["0.5"] == m["f1"]


def test_event_metrics_pool_nights_and_give_errors():
    m = event_metrics([[event(0, 20), event(100, 20)], [], [event(0, 10)]], [[event(2, 20)], [event(5, 10)], []])
    assert (m["n_nights"], m["n_reference"], m["n_predicted"], m["n_matched"]) == (3, 3, 2, 1)
    assert m["f1"] == pytest.approx(2 / 5) and m["f1_median"] == 0
    assert m["onset_error_median_s"] == 2 and m["end_error_median_s"] == 2
    assert event_metrics([[]], [[]])["f1"] is None


def test_types_agree_on_what_both_sides_found_and_typed():
    def apneas(*kinds):
        return [Event(f"{kind}apnea", 100.0 * n, 20.0) for n, kind in enumerate(kinds)]

    human = apneas("central_", "obstructive_", "mixed_", "")
    m = type_metrics([human, human[:1]], [apneas("central_", "central_", "mixed_", "central_"), []])
    assert (m["n_typed"], m["accuracy"], m["confusion"]) == (3, pytest.approx(2 / 3), [[0, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert m["kappa"] == pytest.approx(0.5)
    assert type_metrics([[]], [[]]) == {"n_typed": 0, "accuracy": None, "kappa": None, "confusion": None}


def test_index_metrics_by_hand():
    m = index_metrics([2, 10, 20, 40, None], [4, 10, 14, 40, 3], breathing.severity)
    assert (m["n_nights"], m["n_left_out"], m["mae_per_h"], m["bias_per_h"]) == (4, 1, 2, -1)
    sd = np.std([2, 0, -6, 0], ddof=1)
    assert m["limits_of_agreement_per_h"] == pytest.approx([-1 - 1.96 * sd, -1 + 1.96 * sd])
    assert m["severity_accuracy"] == 0.75 and np.trace(m["severity_confusion"]) == 3
    assert m["severity_confusion"][2][1] == 1 and 0 < m["severity_kappa"] < 1
    empty = index_metrics([None], [3], breathing.severity)
    assert empty["n_nights"] == 0 and empty["mae_per_h"] is empty["severity_kappa"] is None
    assert index_metrics([7], [8])["limits_of_agreement_per_h"] is None
    assert "severity_kappa" not in index_metrics([7], [8])


def test_threshold_is_the_one_that_finds_the_events():
    probs = np.tile([0.9, 0.1, 0.0], (400, 1))
    for onset_s in (50, 150, 250):
        probs[onset_s : onset_s + 20] = [0.3, 0.7, 0.0]
    probs[320:345] = [0.6, 0.4, 0.0]  # looks a little like an event, and is none
    threshold = fit_threshold([probs], [[event(s, 20) for s in (50, 150, 250)]], breathing.ROOM.decode)
    assert 0.4 <= threshold < 0.7
    assert threshold == pytest.approx(0.54, abs=0.021)  # the middle of the plateau
    with pytest.raises(ValueError, match="no reference events"):
        fit_threshold([probs], [[]], breathing.ROOM.decode)
    with pytest.raises(ValueError, match="finds any of the 1"):
        fit_threshold([probs], [[event(380, 10)]], breathing.ROOM.decode)
