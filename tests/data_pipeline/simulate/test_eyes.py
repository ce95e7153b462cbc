"""Eyes are behind alpha, the EOG and the front of the EEG."""

import numpy as np

from data_pipeline.simulate.eyes import draw_eyes, leak_into_eeg, make_eog
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.person import draw_person

RATE_HZ = 100


def night(seed, stages):
    rng = np.random.default_rng([31, seed])
    head = draw_person(rng, "x", variety=1.0).head
    stages = np.array(stages, np.int8)
    return rng, head, stages, draw_eyes(rng, head, stages, RATE_HZ, variety=1.0)


def test_nobody_blinks_with_closed_eyes_or_looks_around_in_deep_sleep():
    blinks = 0
    for seed in range(20):
        _, _, _, eyes = night(seed, [W] * 20 + [N2, N3] * 20)
        for onset_s, (left, up) in eyes.movements:
            assert onset_s < 600
            if not left.any() and up.any():
                blinks += 1
                assert not eyes.closed[int(onset_s)]
    assert blinks > 200


def test_people_move_their_eyes_in_rem_as_differently_as_people_do():
    rates = [len(night(seed, [REM] * 40)[3].movements) / 20 for seed in range(40)]
    low, high = np.percentile(rates, [10, 90])
    assert low < 6 and high > 14  # per minute


def test_movements_reach_the_front_of_the_eeg_and_hardly_its_back():
    _, head, stages, eyes = night(3, [W, N1, REM] * 10)
    eeg = [np.zeros(len(stages) * 30 * RATE_HZ, np.float32) for _ in range(6)]
    leak_into_eeg(eyes, head, eeg, RATE_HZ)
    f3, f4, c3, _, o1, _ = (samples.std() for samples in eeg)
    assert f3 > 1.5 * c3 > 4 * o1 > 0
    assert f4 > 1.5 * c3


def test_the_eog_sees_movements_in_antiphase_and_varies_from_person_to_person():
    signs, sizes = [], []
    for seed in range(30):
        rng, _, stages, eyes = night(seed, [REM] * 20)
        front = [np.zeros(len(stages) * 30 * RATE_HZ, np.float32) for _ in range(6)]
        eog = make_eog(rng, stages, front, RATE_HZ, eyes, variety=1.0)
        if len(eyes.movements) > 60:
            signs.append(np.corrcoef(eog)[0, 1] < 0)
            sizes.append(eog[0].std())
    assert len(signs) > 15
    assert np.mean(signs) > 0.6
    assert max(sizes) > 2 * min(sizes)
