"""Breathing events show in flow, belts and saturation."""

import numpy as np

from data_pipeline.night import APNEAS, EventKind


def test_desaturations_show_in_the_saturation(signals):
    _, events, _, breathing = signals
    deep = [e for e in events if e.kind is EventKind.DESATURATION and e.scored]
    assert len(deep) > 8
    for event in deep:
        nadir = int(event.detail["nadir_s"])
        before = breathing.spo2_percent[int(event.onset_s) - 2 : int(event.onset_s) + 1].max()
        after = breathing.spo2_percent[nadir - 3 : nadir + 4].min()
        assert before - after > 0.5 * event.detail["depth_percent"]


def test_an_apnea_stops_the_flow_and_its_type_shows_in_the_belts(signals):
    _, events, _, breathing = signals
    apneas = [e for e in events if e.kind in APNEAS]
    assert len(apneas) >= 5

    def swing(samples, start_s, stop_s):
        return np.std(samples[round(start_s * 32) : round(stop_s * 32)])

    typical = np.median([swing(breathing.thermistor, s, s + 10) for s in range(0, 5400, 10)])
    ratios = [swing(breathing.thermistor, e.onset_s + 3, e.end_s - 1.5) / typical for e in apneas]
    assert max(ratios) <= 0.1
    obstructive = [e for e in apneas if e.kind is EventKind.OBSTRUCTIVE_APNEA]
    belts = [
        np.corrcoef(
            breathing.thorax[round((e.onset_s + 2) * 32) : round((e.end_s - 2) * 32)],
            breathing.abdomen[round((e.onset_s + 2) * 32) : round((e.end_s - 2) * 32)],
        )[0, 1]
        for e in obstructive
    ]
    assert np.median(belts) < 0  # paradox
    assert np.corrcoef(breathing.thorax, breathing.abdomen)[0, 1] > 0.6
    for event in apneas:
        effort = swing(breathing.abdomen, event.onset_s + 2, event.end_s - 2)
        if event.kind is EventKind.CENTRAL_APNEA:
            assert effort < 0.15 * np.std(breathing.abdomen)
        elif event.kind is EventKind.OBSTRUCTIVE_APNEA:
            assert effort > 0.2 * np.std(breathing.abdomen)
