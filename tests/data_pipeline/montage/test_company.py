"""What labels mean among others and by their units."""

from fractions import Fraction

import pytest

from data_pipeline.montage.mapping import map_channels
from data_pipeline.readers import Signal


def mapped(*labels) -> dict[str, tuple[str, str]]:
    """Slot -> (label, confidence) of labels, or of (label, unit, rate)."""
    told = [(label, "uV", 128) if isinstance(label, str) else label for label in labels]
    signals = [
        Signal(k, label, unit, Fraction(rate), (-1.0, 1.0), (-9, 9)) for k, (label, unit, rate) in enumerate(told)
    ]
    return {c.slot: (c.label, str(c.confidence)) for c in map_channels(signals).channels}


@pytest.mark.parametrize(
    "form", ["E{}", "EEG {}", "EEG{:03}", "E{:03}", "EEG E{}", "E{}-E129", "E{} VREF", "EGI {}", "EGI_E{}"]
)
def test_a_net_has_no_eyes_and_no_places(form):
    net = [form.format(k) for k in range(1, 129)]
    assert mapped(*net, "EOG L", "EOG R", "Chin") == {
        "E1": ("EOG L", "certain"),
        "E2": ("EOG R", "certain"),
        "CHIN": ("Chin", "certain"),
    }


def test_electrodes_numbered_beyond_their_names_are_contacts():
    assert mapped(*(f"O{k}" for k in range(1, 9))) == {}
    assert mapped(*(f"C{k}" for k in range(1, 17))) == {}
    assert set(mapped("E1", "E2", "E3", "F3", "F5", "F9", "F7", "EEG1")) == {"E1", "E2", "F3", "F4", "C4"}


@pytest.mark.parametrize(
    "form",
    ["PSG_{}", "{}_Grass", "{} - raw uV", "Lab7:{}", "{} (Xltek)", "Bitbrain {}"],
)
def test_a_word_that_all_share_says_nothing(form):
    labels = ("F3", "C3", "O1", "Chin", "THER", "THOR")
    assert mapped(*map(form.format, labels)) == {
        slot: (form.format(label), "likely")
        for slot, label in zip(("F3", "C3", "O1", "CHIN", "THERMISTOR", "THORAX"), labels, strict=True)
    }


def test_labels_that_are_counted_are_read_without_their_numbers():
    assert set(mapped("01:F3", "02:C3", "03:O1")) == {"F3", "C3", "O1"}
    assert set(mapped("1 Chin", "2 C4", "3 ECG")) == {"CHIN", "C4", "ECG"}
    assert set(mapped("01-A2", "02-A1")) == {"O1", "O2"}  # a digit where a letter is meant


def test_a_shared_word_of_the_field_stays_and_two_shared_words_are_two_people():
    assert mapped("C3-M2", "F3-M2", "O1-M2")["C3"] == ("C3-M2", "certain")
    assert mapped("Mum_F3", "Mum_C3", "Mum_O1", "Son_F3", "Son_C3", "Son_O1") == {}


def test_computed_linked_ears_and_an_eye_named_twice():
    assert mapped("EEG C3-CLE", "E1 (LEOG)", "M2") == {
        "C3": ("EEG C3-CLE - M2", "certain"),
        "E1": ("E1 (LEOG) - M2", "certain"),
    }


@pytest.mark.parametrize("form", ["{}+ {}-", "{}(+) {}(-)", "{}_+ {}_-"])
def test_two_poles_are_one_channel(form):
    labels = [label for base in ("LLEG", "RLEG", "Chin", "ECG") for label in form.format(base, base).split()]
    assert {slot: label for slot, (label, _) in mapped(*labels).items()} == {
        slot: f"{labels[k]} - {labels[k + 1]}" for slot, k in (("LEG_L", 0), ("LEG_R", 2), ("CHIN", 4), ("ECG", 6))
    }
    assert mapped("LLEG+") == {"LEG_L": ("LLEG+", "certain")}


@pytest.mark.parametrize(
    ("label", "unit", "rate", "slot"),
    [
        ("O2-Masimo", "%", 1, "SPO2"),
        ("O2", "%", 25, "SPO2"),
        ("O2 Nonin", "", 4, "SPO2"),
        ("O2", "uV", 128, "O2"),
        ("O2", "", 1, None),
        ("Flow.40ms", "L/s", 25, "NASAL_PRESSURE"),
        ("Flow", "l/min", 25, "NASAL_PRESSURE"),
        ("Flow", "cmH2O", 25, "NASAL_PRESSURE"),
        ("Flow", "°C", 25, "THERMISTOR"),
        ("Thorax", "Ohm", 25, "THORAX"),
        ("Thorax", "bpm", 25, None),
        ("ECG", "Ohm", 100, None),
        ("EMG Chin", "kΩ", 100, None),
        ("C3", "kOhm", 100, None),
        ("ECG", "bpm", 100, None),
        ("ECG", "", 100, "ECG"),
        ("SpO2", "bpm", 1, None),
        ("SpO2", "mV", 1, "SPO2"),
    ],
)
def test_the_unit_has_its_word(label, unit, rate, slot):
    assert next(iter(mapped((label, unit, rate))), None) == slot
