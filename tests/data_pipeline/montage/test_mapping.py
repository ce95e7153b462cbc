"""Channels find their slot among others, are refused with a reason, and never shift each other."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.modalities import SLOTS
from data_pipeline.montage.mapping import map_channels
from data_pipeline.readers import Signal


def signal(index: int, label: str, rate_hz: float = 256, unit: str = "uV", digital=(-100, 100)) -> Signal:
    return Signal(index, label, unit, Fraction(rate_hz), (-1.0, 1.0), digital)


def mapped(*labels: str, rate_hz: float = 256) -> dict[str, str]:
    montage = map_channels([signal(i, label, rate_hz) for i, label in enumerate(labels)])
    return {c.slot: c.label for c in montage.channels}


ALONE = {
    "EEG C4-M1": "C4",
    "C3-A2": "C3",
    "EEG F3-A2": "F3",
    "O2M1": "O2",
    "T3/A2": "O1",
    "01-A2": "O1",
    "C4:M1+M2": "C4",
    "F4_M1": "F4",
    "Fp2": "F4",
    "FZ-A1A2": "F4",
    "Cz-A1": "C4",
    "EEG Fpz-Cz": "F4",
    "EEG Pz-Oz": "O2",
    "P3": "O1",
    "EEG": "C4",
    "EEG(sec)": "C3",
    "LOC-M2": "E1",
    "EOG(R)": "E2",
    "EOG ROC-A22": "E2",
    "Left-A2": "E1",
    "EOG horizontal": "E1",
    "REOG": "E2",
    "EMG": "CHIN",
    "Chin 1-Chin 2": "CHIN",
    "EMG submental": "CHIN",
    "Leg/R": "LEG_R",
    "L Leg": "LEG_L",
    "LAT": "LEG_L",
    "EMG RAT": "LEG_R",
    "EKG": "ECG",
    "ECG II": "ECG",
    "ECG1-ECG2": "ECG",
    "NEW AIR": "THERMISTOR",
    "Nasal/Oral Therm": "THERMISTOR",
    "Resp oro-nasal": "THERMISTOR",
    "NasalP": "NASAL_PRESSURE",
    "CannulaFlow": "NASAL_PRESSURE",
    "THOR RES": "THORAX",
    "RIP Thorax": "THORAX",
    "Chest": "THORAX",
    "ABDO EFFORT": "ABDOMEN",
    "SaO2": "SPO2",
    "Sa02": "SPO2",
    "SpO2 Masimo": "SPO2",
}
REFUSED = re.findall(
    r"\S+",
    "H.R. PulseRate EtCO2 Oral-CO2 Snore P-Snore MIC Position PPG Pleth Arms-L Masseter-R RIC-EMG Chin:RIC "
    "Abd:Chest Sum.RIPs Light OxStatus Marker Temp CPAP M1 M2:M1 F4-M1:F3-M2 "
    "Fp1:E2 LEMG EMG5 Pressur X5 Zebra",
)


@pytest.mark.parametrize(("label", "slot"), ALONE.items())
def test_a_label_alone_finds_its_slot(label, slot):
    assert mapped(label) == {slot: label}
    assert mapped(label.lower()) == {slot: label.lower()}


@pytest.mark.parametrize("label", REFUSED)
def test_what_is_unsure_or_not_wanted_is_refused_with_a_reason(label):
    montage = map_channels([signal(0, label)])
    assert not montage.channels
    assert montage.unused[0].label == label and len(montage.unused[0].reason) > 8


def test_electrodes_are_referenced_to_the_opposite_mastoid():
    labels = ("C3", "C4", "A1", "A2", "LOC", "ROC", "Chin1", "Chin2", "ECG L", "ECG R")
    montage = map_channels([signal(i, label) for i, label in enumerate(labels)])
    assert {c.slot: c.terms for c in montage.channels} == {
        "C3": ((0, 1.0), (3, -1.0)),
        "C4": ((1, 1.0), (2, -1.0)),
        "E1": ((4, 1.0), (3, -1.0)),
        "E2": ((5, 1.0), (2, -1.0)),
        "CHIN": ((6, 1.0), (7, -1.0)),
        "ECG": ((8, 1.0), (9, -1.0)),
    }
    assert next(c for c in montage.channels if c.slot == "C3").label == "C3 - A2"
    assert {u.label: u.reason for u in montage.unused}["A2"] == "used as the reference of C3, E1"


def test_with_one_mastoid_it_is_the_reference_of_both_sides():
    assert mapped("C3", "C4", "M1") == {"C3": "C3 - M1", "C4": "C4 - M1"}


def test_linked_mastoids_when_asked():
    labels = ("C3", "LOC", "M1", "A2", "F4-M1")
    montage = map_channels([signal(i, label) for i, label in enumerate(labels)], linked=True)
    assert {c.slot: c.terms for c in montage.channels} == {
        "F4": ((4, 1.0),),
        "C3": ((0, 1.0), (2, -0.5), (3, -0.5)),
        "E1": ((1, 1.0), (2, -0.5), (3, -0.5)),
    }
    assert next(c for c in montage.channels if c.slot == "C3").label == "C3 - (M1 + A2)/2"
    assert map_channels([signal(0, "C3"), signal(1, "M2")], linked=True).channels[0].label == "C3 - M2"


def test_two_electrodes_of_a_leg_are_subtracted():
    assert mapped("LAT1", "LAT2", "RAT 1") == {"LEG_L": "LAT1 - LAT2", "LEG_R": "RAT 1"}
    assert mapped("EMG1", "EMG2", "EMG3") == {"CHIN": "EMG1 - EMG2"}
    assert mapped("EMG1", "EMG2") == {"CHIN": "EMG1"}


def test_electrodes_at_different_rates_are_not_subtracted():
    montage = map_channels([signal(0, "C3", 256), signal(1, "M2", 128)])
    assert [c.terms for c in montage.channels] == [((0, 1.0),)]


def test_a_derivation_written_the_other_way_round_is_turned():
    montage = map_channels([signal(0, "M2:C3")])
    assert montage.channels[0].terms == ((0, -1.0),) and "sign turned" in montage.channels[0].reason


def test_the_best_candidate_wins_and_the_others_say_why():
    montage = map_channels([signal(0, "C3-Cz"), signal(1, "EEG C3"), signal(2, "C3-M2"), signal(3, "C3-M2")])
    assert [(c.slot, c.terms[0][0]) for c in montage.channels] == [("C3", 2)]
    assert [u.reason for u in montage.unused] == ["not needed: C3 is C3-M2"] * 3


def test_neighbours_take_free_slots_only():
    assert mapped("Fz", "F4-M1", "F3-M2") == {"F3": "F3-M2", "F4": "F4-M1"}
    assert mapped("Fz", "F4-M1") == {"F3": "Fz", "F4": "F4-M1"}


def test_flow_is_nasal_pressure_beside_a_thermistor():
    assert mapped("Flow") == {"THERMISTOR": "Flow"}
    assert mapped("Flow", "Thermistor") == {"THERMISTOR": "Thermistor", "NASAL_PRESSURE": "Flow"}
    montage = map_channels([signal(0, "Flow", unit="cmH2O")])
    assert montage.channels[0].slot == "NASAL_PRESSURE"


def test_isruc_inputs_count_only_in_a_montage_like_isruc():
    assert mapped("X1") == {}
    assert mapped("X1", "X2", "X3", "X4", "X5") == {"CHIN": "X1", "ECG": "X2", "LEG_L": "X3", "LEG_R": "X4"}
    assert mapped("X1|24", "X2|25") == {"CHIN": "X1|24", "ECG": "X2|25"}


def test_the_nameless_chin_counts_only_in_a_montage_like_nox():
    assert mapped("1-2", "C3-M2") == {"C3": "C3-M2"}
    assert mapped("1-2", "X Axis") == {"CHIN": "1-2"}


def test_mesa_eeg_channels():
    assert mapped("EEG1", "EEG2", "EEG3") == {"F4": "EEG1", "O2": "EEG2", "C4": "EEG3"}


def test_a_numbered_grid_is_not_the_ten_twenty_system():
    labels = [f"{letter}{n}" for letter in "ABC" for n in range(1, 9)]
    assert mapped(*labels) == {}


@pytest.mark.parametrize(
    ("label", "rate_hz"), [("EMG", 1), ("C4-M1", 49.5), ("Thorax", 1), ("EOG(L)", 10), ("SpO2", 0.03)]
)
def test_too_slow_for_its_modality_is_refused(label, rate_hz):
    montage = map_channels([signal(0, label, rate_hz)])
    assert not montage.channels and "too slow" in montage.unused[0].reason
    assert not map_channels([signal(0, "SpO2", 1)]).unused


def test_a_channel_without_scale_is_refused():
    montage = map_channels([signal(0, "C4-M1", digital=(0, 0)), signal(1, "C3-M2")])
    assert [c.slot for c in montage.channels] == ["C3"] and "scale is undefined" in montage.unused[0].reason


LABELS = st.sampled_from([*ALONE, *REFUSED, "C3", "C4", "A1", "A2", "Chin1", "Chin2", "EMG1", "EMG2", "EMG3"])


@given(st.lists(LABELS, max_size=14), st.sampled_from([1, 25, 128, 499.5]))
def test_every_signal_is_accounted_for_once_and_no_name_shifts(labels, rate_hz):
    montage = map_channels([signal(i, label, rate_hz) for i, label in enumerate(labels)])
    filled = [c.terms[0][0] for c in montage.channels]
    assert sorted(filled + [u.index for u in montage.unused]) == list(range(len(labels)))
    assert all(u.label == labels[u.index] and u.reason for u in montage.unused)
    for c in montage.channels:
        assert c.label == " - ".join(labels[i] for i, _ in c.terms)
    slots = [c.slot for c in montage.channels]
    order = [slot for group in SLOTS.values() for slot in group]
    assert slots == sorted(set(slots), key=order.index)
