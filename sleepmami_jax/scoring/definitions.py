"""What each number of the report means: the rule that it was counted by, in words, beside every row."""

from __future__ import annotations

from collections.abc import Sequence

from sleepmami_jax.scoring.prediction import Scores

OTHERS = {
    "tst_min": "sleep time (TST): all epochs of N1, N2, N3 and REM",
    "spt_min": "sleep period (SPT): from the first to the last epoch of sleep",
    "se_pct": "sleep efficiency: sleep time in per cent of recording time",
    "sme_pct": "sleep maintenance: sleep time in per cent of the sleep period",
    "lps_min": "latency to persistent sleep: as sleep onset latency, to the first 10 min of unbroken sleep",
    "unscored_min": "not scored: epochs without a usable signal on the head",
    "ahi_nrem_per_h": "AHI in NREM: events that begin in N1, N2 or N3, per hour of it; at least 15 min of it",
    "apneas": "apneas: those of the events that the AHI counts",
    "hypopneas": "hypopneas: those of the events that the AHI counts",
    "apnea_index_per_h": "apnea index: the apneas counted, per hour of monitored sleep",
    "hypopnea_index_per_h": "hypopnea index: the hypopneas counted, per hour of monitored sleep",
    "breathing_event_mean_s": "mean duration of the apneas and hypopneas counted",
    "breathing_event_longest_s": "longest of the apneas and hypopneas counted",
    "arousals": "arousals: those that the arousal index counts",
    "plms": "periodic movements: the limb movements that belong to a series",
    "plm_series": "series: at least four limb movements, each beginning 5 to 90 s after the last one did",
    "limb_movements": "limb movements: those that the limb movement index counts",
    "desaturations": "desaturations: those that the ODI counts",
    "spo2_mean_pct": "mean SpO2: of the seconds of sleep with a valid value",
    "spo2_min_pct": "lowest SpO2: the lowest level at or under which it stays for 3 s of sleep",
    "t90_pct": "T90: share of the seconds of sleep with a valid value in which SpO2 is below 90 %",
}
"""Definitions of rows that say none of their own (`Scores.rules`)."""
STAGES = "of each stage the minutes of recording time, and of sleep stages the share of sleep time"
ON_THE_AXIS = {
    "Stage probabilities": "of each epoch of 30 s the model's probability of each stage, calibrated where it can be",
    "Chance of being wrong": "of each epoch the chance that its stage is wrong, fitted on validation nights; from one "
    "half on the epoch is shaded as unsure, and it is left out of the statistics of events",
    "Probability of an event": "mean over its seconds of the model's probability; of a desaturation there is none, for "
    "it is measured",
    "SpO2": "the oximeter's value of each second, where it is usable and from 40 to 100 %",
    "Breaths": "breaths a minute: the strongest rhythm from 6 to 42 a minute in 60 s of the breathing sensor with the "
    "clearest one, every 10 s; a gap where no rhythm has 40 % of the power, as in an apnea",
    "Heart rate": "beats a minute: 60 over the median interval between beats of the ECG (or of the pulse wave where "
    "there is no ECG) in 10 s; a gap where fewer than three intervals agree",
    "Usable": "of each channel the share of seconds without a fault; a fault (gap, flat, clipped, out of range, "
    "disconnected, mains, dropped) is drawn in the second in which it is",
    "Signals": "what the recording holds after cleaning, with fewer samples and 8 bits each: to look at, not to "
    "measure; an amplitude whose unit the file does not state is as stored",
}
"""Definitions of what the picture shows."""


def definition(key: str, rows: Sequence[tuple[str, str, str]], scores: Scores) -> str:
    """How a statistic is defined: by its own rule, or by that of a row above, which `Room.definitions` is of too."""
    place = [row[0] for row in rows].index(key)
    for name in (key, *(row[0] for row in rows[:place][::-1])):
        if words := scores.rules.get(name) or OTHERS.get(name):
            return words[0].upper() + words[1:]
    return ""
