"""The EEG of each stage."""

import numpy as np
from scipy import signal

from data_pipeline.night import EventKind
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W


def test_delta_power_orders_the_stages(signals):
    stages, _, eeg, _ = signals
    frequencies, power = signal.welch(eeg[2].reshape(len(stages), -1), 128, nperseg=512)
    delta = power[:, (frequencies >= 0.5) & (frequencies < 4)].sum(1)
    level = [np.median(delta[stages == stage]) for stage in (REM, N1, N2, N3)]
    assert level[3] > 2 * level[2] > 2 * max(level[:2])
    alpha = power[:, (frequencies >= 8) & (frequencies < 12.5)].sum(1) / power[:, frequencies > 4].sum(1)
    assert np.median(alpha[stages == W]) > 1.3 * np.median(alpha[stages == N1])


def test_spindles_show_in_the_sigma_band(signals):
    _, events, eeg, _ = signals
    sos = signal.butter(4, (11, 16), "bandpass", fs=128, output="sos")
    power = signal.sosfiltfilt(sos, eeg[2].astype(float)) ** 2
    inside = np.zeros(len(power), dtype=bool)
    sleep = np.zeros(len(power), dtype=bool)
    sleep[40 * 30 * 128 : 100 * 30 * 128] = True  # N2, N3, N2
    for event in events:
        if event.kind is EventKind.SPINDLE:
            inside[round(event.onset_s * 128) : round(event.end_s * 128)] = True
    assert inside[sleep].mean() > 0.01
    assert 3 < power[inside & sleep].mean() / power[~inside & sleep].mean() < 60


def test_electrodes_of_one_head_are_correlated(signals):
    correlation = np.corrcoef(signals[2])
    assert 0.45 < correlation[0, 1] < 0.97  # F3, F4
    assert correlation[0, 2] > correlation[0, 4] > 0.1  # F3–C3 above F3–O1
