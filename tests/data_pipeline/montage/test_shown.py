"""Which words of a label may be kept: those of the vocabulary, and what names a channel."""

import csv
from pathlib import Path

import pytest

from data_pipeline.montage.labels import shown


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("SpO2 (Doe)", "SpO2 (…)"),
        ("Nonin SN998877", "Nonin …"),
        ("Doe Jane", "…"),
        ("Chin 19701231", "Chin …"),
        ("C3 山田", "C3 …"),
        ("Müller C3", "… C3"),
        ("Muster_F3 - Muster_M2", "…_F3 - …_M2"),
        ("C3 " * 40 + "Doe", ("C3 " * 40)[:60]),
    ],
)
def test_words_that_may_be_a_name_are_left_out(label, kept):
    assert shown(label) == kept


@pytest.mark.parametrize(
    "label",
    ["C3 - M2", "(C3 + M2)/2", "X9", "EMG5", "EEG506", "Flow.40ms", "ECG Impédance", "New Air", "H.R.", "Chin-A"],
)
def test_words_of_the_field_stay(label):
    assert shown(label) == label


def test_labels_that_laboratories_use_stay():
    with (Path(__file__).parent / "reference_labels.csv").open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert [label for label in labels if shown(label) != label] == ["ECG IIHF"]
