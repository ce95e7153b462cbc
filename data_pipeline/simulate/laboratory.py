"""A laboratory for one night: of a site's style, but with the recorder, sensors and habits of its own.

Every label here is one that laboratories use and that names its channel without doubt.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.hypnogram import W
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.sites import Lead, Site

EEG, EOG, RESP = SLOTS[Modality.EEG], SLOTS[Modality.EOG], SLOTS[Modality.RESP]
LEGS = ("LEG_L", "LEG_R")

# (what, share); all shares assumed
HEAD_RATES = ((100, 0.1), (125, 0.05), (128, 0.15), (200, 0.25), (250, 0.05), (256, 0.3), (500, 0.05), (512, 0.05))
BODY_RATES = ((100, 0.1), (125, 0.05), (128, 0.15), (200, 0.35), (250, 0.05), (256, 0.3))
RESP_RATES = ((8, 0.05), (10, 0.15), (16, 0.1), (20, 0.1), (25, 0.2), (32, 0.25), (50, 0.08), (64, 0.07))
SPO2_RATES = ((1, 0.45), (2, 0.1), (4, 0.15), (8, 0.05), (10, 0.1), (16, 0.05), (25, 0.1))
UNITS = ((("uV", 1.0), 0.7), (("UV", 1.0), 0.05), (("mV", 1e-3), 0.2), (("V", 1e-6), 0.05))
HALF_RANGES_UV = ((250.0, 0.1), (500.0, 0.25), (1000.0, 0.25), (3200.0, 0.25), (8000.0, 0.15))
HIGH_PASS_HZ = ((0.1, 0.2), (0.16, 0.2), (0.3, 0.45), (0.5, 0.15))
LOW_PASS_HZ = ((25.0, 0.05), (30.0, 0.1), (35.0, 0.35), (70.0, 0.3), (100.0, 0.2))
EMG_BANDS = (((10.0, None), 0.5), ((10.0, 70.0), 0.2), ((10.0, 100.0), 0.2), ((0.5, None), 0.1))
RESP_HIGH_PASS_HZ = ((None, 0.1), (0.03, 0.3), (0.05, 0.4), (0.1, 0.2))
PRESSURE_HIGH_PASS_HZ = ((None, 0.6), (0.03, 0.3), (0.05, 0.1))
RESP_LOW_PASS_HZ = ((None, 0.4), (5.0, 0.15), (10.0, 0.2), (15.0, 0.25))
RESP_UNITS = (("uV", 0.4), ("mV", 0.3), ("V", 0.1), ("", 0.2))
RESP_HALF_RANGE = {"uV": 1000.0, "mV": 20.0, "V": 0.01, "": 100.0}
BREATH_SHARE, BREATH_SHARE_CLIPPING, CLIPPING_SHARE = (0.03, 0.5), (0.8, 1.5), 0.1  # a breath of the half range
TURNED_SHARE = {"flow": 0.5, "belts": 0.4, "NASAL_PRESSURE": 0.1, "ECG": 0.2}  # polarity of sensors
SATURATION = ((("%", 100.0, 1.0), 0.6), (("%", 102.3, 1.0), 0.25), (("", 100.0, 1.0), 0.1), (("", 1.0, 0.01), 0.05))
"""(unit, full scale, file value for 1 %); a few recorders write a fraction."""

BRAIN = (
    ("EEG {e}-{m}", "{e}-{m}", "{e}{m}", "{e}:{m}", "EEG {e}-{a}", "{e}-{a}", "{e}{a}"),
    ("{e}", "EEG {e}", "EEG {e}-Ref", "{e}-REF"),
)
EYES = (("EOG {e}-{m}", "{e}-{m}", "{e}{m}", "{e}:{m}", "EOG {o}-{a}", "{o}-{a}"), ("{o}", "EOG {o}", "EOG {s}", "{e}"))
"""Of a derived and a referential recorder: e is the electrode, m and a names of a mastoid, o LOC or ROC, s L or R."""
CHIN_PAIRS = (("Chin1", "Chin2"), ("Chin 1", "Chin 2"), ("CHIN L", "CHIN R"), ("EMG Chin1", "EMG Chin2"))
LABELS = {
    "CHIN": ("EMG Chin", "Chin EMG", "CHIN", "Chin", "EMG Submental", "Chin1-Chin2", "EMG chin", "ChinEMG"),
    "ECG": ("ECG", "EKG", "ECG II", "ECG1-ECG2", "EKG1-EKG2", "ECG L-R"),
    "THERMISTOR": ("Therm", "Thermistor", "THERM", "Flow Th", "TFLOW", "Airflow", "FLOW", "Nasal/Oral", "NAF"),
    "NASAL_PRESSURE": ("NPress", "Nasal Pressure", "Nasal Pres", "PTAF", "Cannula", "Cannula Flow", "PFlow", "Pnasal"),
    "SPO2": ("SpO2", "SaO2", "SAO2", "SPO2", "Sat", "OSAT", "SpO2 BB", "O2Sat"),
}
PAIRS = {
    LEGS: (
        ("EMG LAT", "EMG RAT"),
        ("LEG/L", "LEG/R"),
        ("Leg L", "Leg R"),
        ("LLEG", "RLEG"),
        ("EMG Tib L", "EMG Tib R"),
    ),
    ("THORAX", "ABDOMEN"): (
        ("Thor", "Abdo"),
        ("CHEST", "ABD"),
        ("Effort THO", "Effort ABD"),
        ("Resp Thorax", "Resp Abdomen"),
        ("THOR RES", "ABDO RES"),
        ("VTH", "VAB"),
        ("Thorax", "Abdomen"),
        ("RIP Thorax", "RIP Abdomen"),
    ),
}
FEWER_EEG = (("C3", "C4"), ("C3", "C4", "O1", "O2"), ("F4", "C4", "O2"), ("F3", "C3", "O1"), ("C4",), ("F4", "C4"))
KINDS = (("full", 0.62), ("fewer_eeg", 0.22), ("sleep_only", 0.05), ("frontal", 0.04), ("breathing_only", 0.07))
ONE_LESS_SHARE = 0.04  # a sensor that this laboratory does not have, or nobody plugged in
ONE_MASTOID_SHARE = 0.1  # of referential recorders
LIGHTS_SHARE = 0.7  # of nights
CPAP_SHARE, CPAP_AHI_PER_H, CPAP_FROM = 0.15, 15.0, (0.3, 0.6)  # of patients' nights, in which share of it


def draw_site(rng: np.random.Generator, style: Site, person: Person, stages: np.ndarray, *, variety: float) -> Site:
    """Draws the laboratory of a night; `stages` is (n_epochs,) int8.

    With probability `variety` it has leads, mains and habits of its own, in the style of `style`; else it is `style`.
    """
    if variety == 0 or rng.random() >= variety:
        return style
    slots = _slots(rng)
    leads = [*_head(rng, style.referential, slots), *_muscles_and_heart(rng, style.referential, slots)]
    leads += [*_breathing(rng, slots), *_saturation(rng, slots)]
    n_seconds = len(stages) * EPOCH_S
    lights_s, cpap_from_s = None, None
    asleep = np.flatnonzero(stages != W) * EPOCH_S
    if rng.random() < LIGHTS_SHARE and len(asleep):
        off, on = rng.uniform(0, asleep[0]), rng.uniform(asleep[-1] + EPOCH_S, n_seconds)
        lights_s = (round(float(off), 2), round(float(min(on, n_seconds - 1)), 2))
    if person.ahi_per_h >= CPAP_AHI_PER_H and rng.random() < CPAP_SHARE:
        cpap_from_s = round(float(rng.uniform(*CPAP_FROM) * n_seconds), 2)
    mains_hz = int(rng.choice([50, 60]))
    return replace(style, mains_hz=mains_hz, leads=tuple(leads), lights_s=lights_s, cpap_from_s=cpap_from_s)


def _pick(rng: np.random.Generator, table: Sequence[tuple]):
    """The first of one of the (what, share) pairs."""
    shares = np.array([share for _, share in table])
    return table[rng.choice(len(table), p=shares / shares.sum())][0]


def _slots(rng: np.random.Generator) -> set[str]:
    """The canonical channels that this laboratory records."""
    kind, all_slots = _pick(rng, KINDS), [slot for slots in SLOTS.values() for slot in slots]
    if kind == "frontal":
        return {str(rng.choice(["F3", "F4"]))} | ({"ECG"} if rng.random() < 0.3 else set())
    if kind == "breathing_only":
        slots = {*RESP, "SPO2"} | ({"ECG"} if rng.random() < 0.5 else set())
        return slots - ({"THERMISTOR"} if rng.random() < 0.5 else set())
    eeg = EEG if kind == "full" else _one_of(rng, FEWER_EEG)
    if kind == "sleep_only":
        return {*eeg, *EOG, "CHIN"}
    others = [slot for slot in all_slots if slot not in EEG and rng.random() >= ONE_LESS_SHARE]
    return {*eeg, *others}


def _head(rng: np.random.Generator, referential: bool, slots: set[str]) -> list[Lead]:
    """EEG and EOG by one amplifier, with the mastoids where electrodes stand against a common reference."""
    rate, (unit, gain), half_uv = _pick(rng, HEAD_RATES), _pick(rng, UNITS), _pick(rng, HALF_RANGES_UV)
    band = (_pick(rng, HIGH_PASS_HZ), _low_pass(_pick(rng, LOW_PASS_HZ), rate))
    points = [slot for slot in (*EEG, *EOG) if slot in slots]
    brain, eye = (_one_of(rng, words[referential]) for words in (BRAIN, EYES))
    both_eyes_alike = rng.random() < ONE_MASTOID_SHARE
    labels = []
    for slot in points:
        mastoid = "2" if slot[-1] in "13" or (slot in EOG and both_eyes_alike) else "1"
        old, side = {"E1": ("LOC", "L"), "E2": ("ROC", "R")}.get(slot, ("", ""))
        words = eye if slot in EOG else brain
        labels.append(words.format(e=slot, m=f"M{mastoid}", a=f"A{mastoid}", o=old, s=side))
    if referential and points:
        mastoids = [f"M{rng.integers(1, 3)}"] if rng.random() < ONE_MASTOID_SHARE else ["M1", "M2"]
        letter = _one_of(rng, "MA")
        points += mastoids
        labels += [brain.format(e=letter + mastoid[1]) for mastoid in mastoids]
    return [
        Lead(label, slot, rate, unit, half_uv * gain, gain, band) for label, slot in zip(labels, points, strict=True)
    ]


def _low_pass(corner_hz: float | None, rate_hz: int) -> float | None:
    """A corner that the rate allows; without one, the recorder's own filter is out of sight."""
    return corner_hz if corner_hz is not None and corner_hz < 0.45 * rate_hz else None


def _muscles_and_heart(rng: np.random.Generator, referential: bool, slots: set[str]) -> list[Lead]:
    leads = []
    rate, (unit, gain), half_uv = _pick(rng, BODY_RATES), _pick(rng, UNITS), max(500.0, _pick(rng, HALF_RANGES_UV))
    high, low = _pick(rng, EMG_BANDS)
    muscle = (rate, unit, half_uv * gain, gain, (high, _low_pass(low, rate)))
    if "CHIN" in slots:
        on_head = referential and bool(slots & {*EEG, *EOG})
        if on_head:
            pair = _one_of(rng, CHIN_PAIRS)
            leads += [Lead(label, slot, *muscle) for label, slot in zip(pair, ("CHIN", "CHIN_REF"), strict=True)]
        else:
            leads.append(Lead(_one_of(rng, LABELS["CHIN"]), "CHIN", *muscle))
    leads += [Lead(label, slot, *muscle) for label, slot in _paired(rng, LEGS, slots)]
    if "ECG" in slots:
        rate, (unit, gain) = _pick(rng, BODY_RATES), _pick(rng, UNITS)
        band = (_pick(rng, HIGH_PASS_HZ), _low_pass(_pick(rng, LOW_PASS_HZ), rate))
        half_uv = float(rng.choice([3200.0, 5000.0, 8000.0]))
        leads.append(
            Lead(_one_of(rng, LABELS["ECG"]), "ECG", rate, unit, half_uv * gain, _turned(rng, "ECG") * gain, band)
        )
    return leads


def _one_of(rng: np.random.Generator, those: Sequence):
    return those[rng.integers(len(those))]


def _paired(rng: np.random.Generator, pair: tuple[str, str], slots: set[str]) -> list[tuple[str, str]]:
    """(label, slot) of the slots of a pair that there are, in words that belong together."""
    labels = _one_of(rng, PAIRS[pair])
    return [(label, slot) for label, slot in zip(labels, pair, strict=True) if slot in slots]


def _turned(rng: np.random.Generator, what: str) -> float:
    return -1.0 if rng.random() < TURNED_SHARE[what] else 1.0


def _breathing(rng: np.random.Generator, slots: set[str]) -> list[Lead]:
    rate, unit = _pick(rng, RESP_RATES), _pick(rng, RESP_UNITS)
    belts = _paired(rng, ("THORAX", "ABDOMEN"), slots)
    belt_sign, belt_band = _turned(rng, "belts"), (_pick(rng, RESP_HIGH_PASS_HZ), _pick(rng, RESP_LOW_PASS_HZ))
    leads = []
    for slot in ("THERMISTOR", "NASAL_PRESSURE"):
        if slot in slots:
            high = _pick(rng, RESP_HIGH_PASS_HZ if slot == "THERMISTOR" else PRESSURE_HIGH_PASS_HZ)
            sign = _turned(rng, "flow" if slot == "THERMISTOR" else slot)
            leads.append((_one_of(rng, LABELS[slot]), slot, sign, (high, _pick(rng, RESP_LOW_PASS_HZ))))
    leads += [(label, slot, belt_sign, belt_band) for label, slot in belts]
    made = []
    for label, slot, sign, (high, low) in leads:
        low_share, high_share = BREATH_SHARE_CLIPPING if rng.random() < CLIPPING_SHARE else BREATH_SHARE
        share = low_share * (high_share / low_share) ** rng.random()
        half_range = RESP_HALF_RANGE[unit]
        gain = sign * float(f"{share * half_range:.4g}")
        made.append(Lead(label, slot, rate, unit, half_range, gain, (high, _low_pass(low, rate))))
    return made


def _saturation(rng: np.random.Generator, slots: set[str]) -> list[Lead]:
    if "SPO2" not in slots:
        return []
    unit, full, gain = _pick(rng, SATURATION)
    return [Lead(_one_of(rng, LABELS["SPO2"]), "SPO2", _pick(rng, SPO2_RATES), unit, full, gain, (None, None))]
