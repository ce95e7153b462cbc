"""Matching of events, and what is counted from it."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.night import Event, EventKind
from data_pipeline.tasks import BREATHING
from sleepmami_jax.metrics.events import (
    event_metrics,
    fit_threshold,
    greedy_matches,
    iou,
    match,
    onset_matches,
    second_figures,
    second_rows,
    type_metrics,
)
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


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=30, deadline=None)
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


def test_the_greedy_rule_by_hand():
    """Reference 0-10 takes both predictions that it overlaps, one of them is false; 20-30 finds none left."""
    reference = [event(0, 10), event(20, 10)]
    assert greedy_matches(reference, [event(0, 4), event(6, 18), event(40, 5)]) == 1
    assert len(match(reference, [event(0, 4), event(6, 18), event(40, 5)])) == 2
    m = event_metrics([reference], [[event(0, 4), event(6, 18), event(40, 5)]])
    assert m["f1_greedy"] == pytest.approx(2 / 5) and m["f1"] == pytest.approx(4 / 5)
    assert greedy_matches(reference, []) == greedy_matches([], reference) == 0


def test_onsets_within_seconds():
    reference, predicted = [event(10, 5), event(12, 5)], [event(13, 5), event(8, 1)]
    assert [onset_matches(reference, predicted, s) for s in (0.5, 1, 2)] == [0, 1, 2]
    m = event_metrics([reference], [predicted])
    assert m["f1_onset"] == {"1": 0.5, "3": 1, "5": 1, "10": 1}
    late = event_metrics([[event(10, 5)]], [[event(13, 5)]])
    assert late["onset_late_mean_s"] == late["onset_error_mean_s"] == 3
    assert event_metrics([[event(13, 5)]], [[event(10, 5)]])["end_late_mean_s"] == -3


def test_pairs_are_those_of_the_best_assignment():
    """Against every assignment of four by four."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        reference, predicted = ([event(rng.integers(40), rng.integers(1, 20)) for _ in range(4)] for _ in range(2))
        overlap = iou(reference, predicted)
        best = max(
            (sum(overlap[i, j] > 0 for i, j in enumerate(order)), sum(overlap[i, j] for i, j in enumerate(order)))
            for order in permutations(range(4))
        )
        pairs = match(reference, predicted)
        assert (len(pairs), sum(overlap[i, j] for i, j in pairs)) == (best[0], pytest.approx(best[1]))


def test_f1_a_second_by_hand():
    reference = [Event(EventKind.HYPOPNEA, 0.0, 10.0), Event(EventKind.APNEA, 20.0, 10.0)]
    predicted = [Event(EventKind.HYPOPNEA, 5.0, 10.0), Event(EventKind.HYPOPNEA, 20.0, 10.0)]
    rows = second_rows([reference], [predicted], BREATHING, [60])
    assert rows.tolist() == [[5, 0, 10, 10, 20, 0]]
    assert second_figures(rows)["f1_second"] == pytest.approx([(2 * 5 / 30 + 0) / 2])
    assert np.isnan(second_figures(second_rows([[]], [[]], BREATHING, [60]))["f1_second"][0])


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
