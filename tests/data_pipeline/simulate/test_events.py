"""Events keep the rules they are scored by."""

from itertools import pairwise

import numpy as np
import pytest

from data_pipeline.night import BREATHING_EVENTS, EventKind
from data_pipeline.simulate.hypnogram import REM, W
from tests.support.simulated import count


def test_scored_events_reach_the_persons_ahi(people):
    made = [count(e, BREATHING_EVENTS) / (np.count_nonzero(s != W) / 120) for _, s, e in people]
    wanted = [person.ahi_per_h for person, _, _ in people]
    assert np.mean(made) == pytest.approx(np.mean(wanted), rel=0.15)
    assert np.corrcoef(made, wanted)[0, 1] > 0.9


def test_breathing_is_worse_in_rem(people):
    rem_events = rem_h = nrem_events = nrem_h = 0
    longer = []
    for _, stages, events in people:
        breathing = [e for e in events if e.kind in BREATHING_EVENTS and e.scored]
        in_rem = np.array([stages[int(e.onset_s) // 30] == REM for e in breathing], dtype=bool)
        rem_events, nrem_events = rem_events + in_rem.sum(), nrem_events + (~in_rem).sum()
        rem_h, nrem_h = (
            rem_h + np.mean(stages == REM) * 7.5,
            nrem_h + np.mean((stages > W) & (stages < REM)) * 7.5,
        )
        durations = np.array([e.duration_s for e in breathing])
        if in_rem.sum() > 5 and (~in_rem).sum() > 5:
            longer.append(durations[in_rem].mean() / durations[~in_rem].mean())
    assert rem_events / rem_h > 1.2 * nrem_events / nrem_h
    assert 1.2 < np.median(longer) < 1.6  # Findley 1985


def test_scoring_rules_hold(people):
    for _, stages, events in people[:60]:
        arousals = [e for e in events if e.kind is EventKind.AROUSAL]
        assert all(3 <= e.duration_s <= 15 for e in arousals)
        gaps = [b.onset_s - a.end_s for a, b in pairwise(arousals)]
        assert min(gaps, default=10) >= 9.98
        onsets = np.array([e.onset_s for e in arousals])
        for event in events:
            if event.kind in BREATHING_EVENTS:
                assert event.duration_s >= 10
                assert stages[int(event.onset_s) // 30] != W
            if event.kind is EventKind.HYPOPNEA:
                aroused = np.any((onsets > event.end_s - 6) & (onsets < event.end_s + 14))
                assert event.scored == (aroused or event.detail["desaturation_percent"] >= 3)  # rule 1A
            if event.kind is EventKind.DESATURATION:
                assert 10 <= event.onset_s - event.detail["cause_onset_s"] <= 45
