"""A laboratory's montage file: what it fills, what it refuses, and that it survives the way round."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.montage.file import choose_channels, read_montage, write_montage
from data_pipeline.montage.mapping import map_channels
from data_pipeline.night import RecordingError
from data_pipeline.prepare.run import prepare
from data_pipeline.readers import Recording, Signal


def recording(*labels: str, rate_hz: float = 256, unit: str = "uV") -> Recording:
    signals = tuple(
        Signal(i, label, unit, Fraction(rate_hz), (-1.0, 1.0), (-100, 100)) for i, label in enumerate(labels)
    )
    return Recording(Path("n.edf"), 60.0, signals, (), (), None, (), lambda *_: np.zeros(1))


def rules(tmp_path: Path, text: str):
    path = tmp_path / "montage.yaml"
    path.write_text(text)
    return read_montage(path)


def chosen(tmp_path: Path, text: str, *labels: str, **options):
    source, montage = choose_channels(recording(*labels, **options), rules(tmp_path, text))
    assert sorted([c.terms[0][0] for c in montage.channels] + [u.index for u in montage.unused]) == list(
        range(len(labels))
    )
    return source, {c.slot: c for c in montage.channels}, {u.label: u.reason for u in montage.unused}


def test_slots_take_what_the_file_says_and_the_others_what_the_labels_say(tmp_path):
    text = "slots:\n  C3: {terms: {C3: 1, M1: -0.5, M2: -0.5}}\n  CHIN: 1-2\n  E1: ~\n"
    _, slots, unused = chosen(tmp_path, text, "C3", "C4", "M1", "M2", "1-2", "LOC", "chin")
    assert slots["C3"].terms == ((0, 1.0), (2, -0.5), (3, -0.5))
    assert slots["C3"].label == "C3 - 0.5 M1 - 0.5 M2"
    assert slots["CHIN"].terms == ((4, 1.0),) and "montage file" in slots["CHIN"].reason
    assert slots["C4"].terms == ((1, 1.0), (2, -1.0))
    assert "E1" not in slots and "decides what E1 is" in unused["LOC"] and "CHIN" in unused["chin"]
    assert unused["M1"] == "used as the reference of C3, C4"


def test_neither_order_nor_place_in_a_sum_changes_what_is_left_for_others(tmp_path):
    for terms in ("{C3: 1, M2: -1}", "{M2: -1, C3: 1}"):
        _, slots, unused = chosen(tmp_path, f"slots: {{C3: {{terms: {terms}}}}}", "C3", "O1", "E1", "M2")
        assert slots["C3"].terms == ((0, 1.0), (3, -1.0)) and slots["C3"].label == "C3 - M2"
        assert slots["O1"].terms == ((1, 1.0), (3, -1.0)) and slots["E1"].terms == ((2, 1.0), (3, -1.0))
        assert unused == {"M2": "used as the reference of C3, O1, E1"}
    _, slots, _ = chosen(tmp_path, "slots: {LEG_L: {terms: {Leg1: 1, Leg2: -1}}}", "Leg1", "Leg2")
    assert set(slots) == {"LEG_L"}


def test_which_codes_mean_supine_is_told_and_changes_no_channel(tmp_path):
    lying = rules(tmp_path, "side: [POSITION]\nsupine: [1, 4]")
    assert lying.supine == (1, 4) and lying.sha256() == rules(tmp_path, "side: [POSITION]").sha256()
    for text in ("side: [POSITION]\nsupine: [back]", "side: [POSITION]\nsupine: 1"):
        with pytest.raises(ValueError, match="supine must be a list of whole numbers"):
            rules(tmp_path, text)
    with pytest.raises(ValueError, match=r"write side: \[POSITION\]"):
        rules(tmp_path, "supine: [1]")


def test_unit_and_polarity_are_the_files(tmp_path):
    text = "slots: {C3: {terms: {X: 1}, unit: mV, polarity: inverted}}"
    source, slots, _ = chosen(tmp_path, text, "X", "C4", unit="n/a")
    assert slots["C3"].terms == ((0, -1.0),) and "turned over" in slots["C3"].reason
    assert [s.unit for s in source.signals] == ["mV", "n/a"]


def test_the_first_alternative_that_the_recording_has(tmp_path):
    text = "slots: {LEG_R: [Beinchen, LEG 7, ~]}"
    assert chosen(tmp_path, text, "leg/7")[1]["LEG_R"].label == "leg/7"
    assert chosen(tmp_path, text, "C4")[1].keys() == {"C4"}


def test_linked_mastoids_and_the_second_of_a_label(tmp_path):
    _, slots, _ = chosen(tmp_path, "reference: linked", "C3", "M1", "M2")
    assert slots["C3"].terms == ((0, 1.0), (1, -0.5), (2, -0.5))
    _, slots, _ = chosen(tmp_path, "slots: {O1: 'Q #2', O2: Q}", "Q", "Q")
    assert (slots["O1"].terms, slots["O2"].terms) == (((1, 1.0),), ((0, 1.0),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slots: {THORX: chest}", "'THORX'; did you mean 'THORAX'"),
        ("slotz: {}", "did you mean 'slots'"),
        ("slots: {C3: {terms: {C3: one}}}", "weight of 'C3' must be a number"),
        ("slots: {C3: {terms: {C3: 0}}}", "weight of 'C3' must be a number"),
        ("slots: {C3: {terms: {}}}", "terms must be"),
        ("slots: {C3: []}", "empty list"),
        ("slots: {C3: {terms: {C3: 1}, unit: uVolt}}", "unknown unit; did you mean 'uV'"),
        ("slots: {C3: {terms: {C3: 1}, polarity: down}}", "polarity must be"),
        ("slots: {C3: {terms: {C3: 1}, unitt: uV}}", "did you mean 'unit'"),
        ("slots: {C3: a, C3: b}", "'C3' is there twice"),
        ("reference: ears", "reference must be"),
        ("- a", "expected `name: value`"),
        ("slots: [", "line 1: not YAML"),
        ("[" * 50_000, "not YAML"),
        ("slots: {C3: !!python/object/apply:os.system [ls]}", "terms must be|lacks|C3"),
        ("x" * 200_000, "at most"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, text, said):
    with pytest.raises((ValueError, RecordingError), match=said):
        choose_channels(recording("C3"), rules(tmp_path, text))


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ValueError, match="no such name 'a0'"):
        rules(tmp_path, "\n".join(lines))


def test_a_label_that_the_recording_lacks_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(RecordingError, match=r"fills LEG_R with 'Leg/R'.*did you mean 'LEG R2'"):
        chosen(tmp_path, "slots: {LEG_R: Leg/R}", "C3", "LEG R2")
    with pytest.raises(RecordingError, match="all of one rate"):
        chosen(tmp_path, "slots: {C3: EEG}", "EEG", rate_hz=10)
    with pytest.raises(RecordingError, match="two units"):
        text = "slots: {C3: {terms: {C3: 1, M2: -1}, unit: uV}, O1: {terms: {O1: 1, M2: -1}, unit: mV}}"
        chosen(tmp_path, text, "C3", "O1", "M2")


def test_what_diagnose_writes_reads_back_to_the_same_montage(tmp_path):
    source = recording("C3", "C4", "M1", "M2", "Snore\\'\"", "A2:LOC", "Yes", "24", "Thor: RIP", "Thor: RIP")
    montage = map_channels(source.signals)
    text = write_montage(source, montage)
    assert "# certain: C3 derived against the opposite mastoid" in text and "snoring" in text
    _, again = choose_channels(source, rules(tmp_path, text))
    strip = [replace(c, reason="", confidence="", label="") for c in montage.channels]
    assert [replace(c, reason="", confidence="", label="") for c in again.channels] == strip
    assert write_montage(recording("Zebra"), map_channels(recording("Zebra").signals)).count("slots: {}") == 1


def test_a_night_and_its_digest_follow_the_montage_file(tmp_path):
    x = 20 * np.sin(np.arange(40 * 128) / 5)
    signal = edfio.EdfSignal(x, 128, label="Zebra", physical_dimension="uV", physical_range=(-99, 99))
    recordings = tmp_path / "in"
    recordings.mkdir()
    edfio.Edf([signal]).write(recordings / "n.edf")
    with pytest.raises(RecordingError, match="no usable channel"):
        load_night(recordings / "n.edf")
    up = rules(tmp_path, "slots: {C3: Zebra}")
    down = rules(tmp_path, "slots: {C3: {terms: {Zebra: 1}, polarity: inverted}}  # a remark")
    nights = [load_night(recordings / "n.edf", montage=r) for r in (up, down)]
    assert np.array_equal(nights[0].channels[0].samples, -nights[1].channels[0].samples)
    out = tmp_path / "out"
    first = prepare([recordings], out, montage=up)
    assert prepare([recordings], out, montage=up).kept == 1
    second = prepare([recordings], out, montage=down)
    assert second.kept == 0 and first.nights[0].records_sha256 != second.nights[0].records_sha256
    assert not prepare([recordings], out).nights
