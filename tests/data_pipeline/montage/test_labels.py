"""What a label says by itself, however a recorder writes it."""

import csv
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.montage.labels import Confidence, read_label
from data_pipeline.montage.labels.vocabulary import cut

VENDORS = {  # label -> modality and position, written the way recorders write them
    "EEG C3-Ref": "EEG C3",
    "EEG LOC-Ref": "EOG E1",
    "EEG EKG-Ref": "ECG ECG",
    "EEG LAT-Ref": "EMG LEG_L",
    "POL SpO2": "SPO2 SPO2",
    "C3-(A1+A2)": "EEG C3",
    "M2:C3-Ref": "EEG C3",
    "F3LE": "EEG F3",
    "Lefteye": "EOG E1",
    "EOG (L)": "EOG E1",
    "Lt EOG": "EOG E1",
    "PLMr": "EMG LEG_R",
    "Rt Ant. Tib": "EMG LEG_R",
    "EMG.Tibial-Left": "EMG LEG_L",
    "lleg1_2": "EMG LEG_L",
    "L.Leg EMG": "EMG LEG_L",
    "Jambe D": "EMG LEG_R",
    "Pierna Izq": "EMG LEG_L",
    "Bein re": "EMG LEG_R",
    "LLeg-RLeg": "EMG LEG",
    "Menton": "EMG CHIN",
    "Chin|EMG.": "EMG CHIN",
    "cchin_l": "EMG CHIN",
    "ECG EKG2-EKG": "ECG ECG",
    "ECG V2": "ECG ECG",
    "Chest EKG": "ECG ECG",
    "Sangle thoraciqu": "RESP THORAX",
    "Inductance Abdom": "RESP ABDOMEN",
    "PTAF": "RESP NASAL_PRESSURE",
    "Druck Flow": "RESP NASAL_PRESSURE",
    "Nasal Pressure T": "RESP NASAL_PRESSURE",
    "N/O Airflow": "RESP THERMISTOR",
    "TFLOW": "RESP THERMISTOR",
    "Flow Th": "RESP THERMISTOR",
    "Aux_AC": "RESP THERMISTOR",
    "SA02nonin": "SPO2 SPO2",
    "Pulse Ox": "SPO2 SPO2",
    "Sättigung": "SPO2 SPO2",
    "RIP Flow": "RESP ",
    "Finger PPG": "PPG PPG",
    "SpO2.Pleth": "PPG PPG",
    "Thorax Pleth": "other ",
    "Body Position": "POSITION POSITION",
    "Lage": "POSITION POSITION",
    "Body Movement": "other ",
    "Activity": "other ",
    "NasalSn": "SNORE SNORE",
    "C-flow": "other ",
    "O2 Flow": "other ",
    "Pressure Snore": "SNORE SNORE",
    "EOG-L_Off": "other ",
    "Left Leg Impedan": "other ",
    "HR (SpO2)": "other ",
    "C12": "other ",
    "Alarm": "other ",
    "": "other ",
}


@pytest.mark.parametrize(("label", "truth"), VENDORS.items())
def test_a_label_is_read_as_recorders_write_it(label, truth):
    read = read_label(label)
    assert f"{read.modality or 'other'} {read.position}" == truth


def test_a_label_is_cut_into_as_few_words_as_can_be():
    cuts = {label: [piece.meaning for piece in cut(label)] for label in ("LegLR", "RIPTho", "F3M2x", "EMGd1", "C12")}
    assert cuts == {
        "LegLR": ["LEG", "LEFT", "RIGHT"],
        "RIPTho": ["RIP", "THORAX"],
        "F3M2x": ["SITE", "M2", "REF"],
        "EMGd1": ["EMG", "?", "NUMBER"],
        "C12": ["NUMBER"],
    }


def test_a_label_without_end_is_cut_short():
    assert len(cut("L" * 500)) <= 80


def test_a_reading_says_side_reference_confidence_and_reason():
    read = read_label("A2:EOG1")
    assert (read.modality, read.position, read.reference, read.sign) == (Modality.EOG, "E1", "M2", -1.0)
    assert (read.side, read.confidence) == ("L", Confidence.LIKELY) and "sign turned" in read.reason
    assert read_label("F3:M1+M2").reference == "M1+M2" and read_label("Arm r").side == "R"
    assert read_label("Snore").kind == "snoring or sound" and read_label("Zebra").kind == "unknown"
    assert read_label("Pulse SpO2").confidence is Confidence.GUESS  # one of the two, and not used
    levels = [read_label(label).confidence for label in ("C3-M2", "NEW AIR", "Leg", "Zebra")]
    assert levels == ["certain", "likely", "guess", "unknown"]


HERE = Path(__file__).parent


def test_nearly_all_labels_of_four_clinics_are_read_right_and_none_misleads():
    results = runpy.run_path(str(HERE.parents[2] / "benchmarks" / "mapper.py"))["measure"]()
    assert len(results) == 334
    assert [r.label for r in results if r.misleads] == []
    assert sum(r.is_right for r in results) >= 0.98 * len(results), [r for r in results if not r.is_right]


with (HERE / "reference_labels.csv").open(encoding="utf-8", newline="") as _file:
    REAL_LABELS = [row["label"] for row in csv.DictReader(_file)]


@given(
    st.sampled_from([*REAL_LABELS, *VENDORS]),
    st.sampled_from([str, str.upper, str.lower, str.title, str.swapcase]),
    st.sampled_from([*"-_/:. #|", " - "]),
    st.sampled_from(["", "EEG ", "eeg_", "POL "]),
)
def test_case_separators_and_prefix_change_nothing(label, cased, separator, prefix):
    written = prefix + re.sub(r"[^\w]+|_", lambda _: separator, cased(label))
    plain, other = read_label(label), read_label(written)
    if prefix.lower().startswith("eeg") and plain.confidence is Confidence.UNKNOWN:
        assert not other.slots or other.confidence is Confidence.GUESS
    else:
        assert replace(plain, confidence="", reason="") == replace(other, confidence="", reason="")


@given(st.text(max_size=30) | st.text("EMGLRCHIN12-. ", max_size=16))
def test_any_text_is_read_as_something(label):
    read = read_label(label)
    assert read.kind and read.reason and set(read.slots) <= set(MODALITY_OF)
    assert read_label(label) == read
