"""NSRR cohorts: their XML is understood word for word, and their folders become labelled nights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.annotations.safe_xml import MAX_BYTES
from data_pipeline.annotations.terms import kind_of
from data_pipeline.cohorts import find_nights
from data_pipeline.cohorts._nsrr import SLEEP_WAKE_ONLY, TERMS
from data_pipeline.load import load_night
from data_pipeline.night import APNEAS, BREATHING_EVENTS, Demographics, RecordingError
from data_pipeline.prepare.run import prepare
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.manifest import read_manifest
from tests.support.lookalikes import nsrr as look

W, N1, N2, N3, REM = range(5)
AROUSAL = ("Arousals|Arousals", "Arousal|Arousal ()", 40.5, 5)
BREATHING = (
    ("Respiratory|Respiratory", "Hypopnea|Hypopnea", 60, 20.5),
    ("Respiratory|Respiratory", "Unsure|Unsure", 90, 15),
    ("Respiratory|Respiratory", "Obstructive apnea|Obstructive Apnea", 120.5, 12),
    ("Respiratory|Respiratory", "SpO2 desaturation|SpO2 desaturation", 130, 20),
)
CODES = [0, 1, 2, 4, 5, 9]
STAGES = "01234?"


def read(tmp_path, text, seconds=180, name="n.xml", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    return read_scoring(path, seconds, **options)


def found(scoring):
    return [(str(e.kind), e.onset_s, e.duration_s, e.source) for e in scoring.events]


# --- dialects ----------------------------------------------------------------------------------------------


def test_stages_of_an_nsrr_xml(tmp_path):
    codes = [0, 0, 1, 2, 3, 4, 5, 6, 9, 10, 2]
    scoring, notes = read(tmp_path, look.nsrr_xml(codes), 330)
    assert scoring.stages.tolist() == [W, W, N1, N2, N3, N3, REM, -1, -1, -1, N2]
    assert scoring.scored == {"stages"} and scoring.events == ()
    assert notes == ("n.xml: 3 of 11 epochs have no known stage.",)


def test_stages_follow_the_starts_where_durations_are_wrong(tmp_path):
    codes = [0, 0, 0, 2, 2, 5, 5, 5]
    right, _ = read(tmp_path, look.nsrr_xml(codes), 240)
    wrong, _ = read(tmp_path, look.nsrr_xml(codes, wrong_durations=True), 240)
    np.testing.assert_array_equal(wrong.stages, right.stages)
    assert right.stages.tolist() == [W, W, W, N2, N2, REM, REM, REM]


def test_events_of_an_nsrr_xml_keep_the_scorers_word(tmp_path):
    scoring, notes = read(tmp_path, look.nsrr_xml(CODES, [AROUSAL, *BREATHING]))
    assert found(scoring) == [
        ("arousal", 40.5, 5, "Arousal"),
        ("hypopnea", 60, 20.5, "Hypopnea"),
        ("obstructive_apnea", 120.5, 12, "Obstructive apnea"),
        ("desaturation", 130, 20, "SpO2 desaturation"),
    ]
    assert {e.rule for e in scoring.events} == {""}  # the file does not say by which rule
    assert any("1 annotation(s) with unknown terms" in note for note in notes)  # Unsure: not guessed


def test_a_cohort_says_what_unsure_means(tmp_path):
    scoring, _ = read(tmp_path, look.nsrr_xml(CODES, [AROUSAL, *BREATHING]), terms=TERMS)
    rules = {e.source: (str(e.kind), e.rule) for e in scoring.events}
    assert rules["Hypopnea"] == rules["Unsure"] == ("hypopnea", "flow")
    assert rules["Obstructive apnea"] == ("obstructive_apnea", "")


@pytest.mark.parametrize(
    ("concept", "kind"),
    [
        ("Central apnea|APNEA-CENTRAL", "central_apnea"),
        ("Mixed apnea|APNEA-MIXED", "mixed_apnea"),
        ("Central hypopnea |Central Hypopnea", "hypopnea"),
        ("Respiratory effort related arousal|RERA", "rera"),
        ("SpO2 desaturation|DESAT", "desaturation"),
        ("SpO2 artifact|SpO2 artifact", "artifact"),
        ("Signal artifact|SIGNAL-ARTIFACT", "artifact"),
        ("ASDA arousal|Arousal (ADSA)", "arousal"),
        ("Spontaneous arousal|Arousal (apon aro)", "arousal"),
        ("External arousal|Arousal (External Arousal)", "arousal"),
        ("Internal arousal |Arousal (Internal Arousal)", "arousal"),
        ("Arousal resulting from respiratory effort|Arousal (ARO RES)", "arousal"),
        ("Arousal resulting from snoring |Arousal (Snore)", "arousal"),
        ("Arousal resulting from Chin EMG|Arousal (Cheshire)", "arousal"),
        ("Arousal resulting from periodic leg movement|Arousal (PLM)", "arousal"),
        ("Limb movement - left|Limb Movement (Left)", "limb_movement"),
        ("Periodic leg movement - right|PLM (Right)", "limb_movement"),
        ("Periodic leg movement|PLM", "limb_movement"),
        ("Respiratory related leg movement |PLM-RRLM", "limb_movement"),
        ("Narrow complex tachycardia|Narrow Complex Tachycardia", None),
        ("Periodic breathing|Periodic Breathing", None),
        ("Snoring|Snore", None),
        ("Unsure|Unsure", None),
    ],
)
def test_concepts(concept, kind):
    assert kind_of(concept) == kind


def test_marks_of_no_stage_cut_no_stage(tmp_path):
    marks = [
        ("Stages|Stages", "Beginning of analysis period|ANALYSIS-START", 40, 0),
        ("Stages|Stages", "End of time in bed |LIGHTS-ON", 50, 0),
        ("Body Position|Body Position", "Body position change to left|POSITION-LEFT", 45, 3),
    ]
    scoring, notes = read(tmp_path, look.nsrr_xml([2, 2], marks), 60)
    assert scoring.stages.tolist() == [N2, N2] and notes == ()


@pytest.mark.parametrize("kind", ["", "Stages|Stages"])
def test_stages_of_old_exports(tmp_path, kind):
    names = {
        "SDO:WakeState": W,
        "SDO:NonRapidEyeMovementSleep-N1": N1,
        "SDO:NonRapidEyeMovementSleep-N4": N3,
        "SDO:RapidEyeMovementSleep": REM,
        "SRO:Wake": W,
        "SRO:Stage2Sleep": N2,
        "SRO:Stage34Sleep": N3,
        "SRO:UnscoredEpoch": -1,
        "SRO:MovementTime": -1,
        "SRO:RapidEyeMovement": REM,
        "SLEEP-S0": W,
        "SLEEP-S2": N2,
        "SLEEP-REM": REM,
        "SLEEP-UNSCORED": -1,
    }
    marks = [(kind, concept, 30 * place, 30) for place, concept in enumerate(names)]
    scoring, _ = read(tmp_path, look.nsrr_xml([], marks), 30 * len(names))
    assert scoring.stages.tolist() == list(names.values())


def test_events_of_old_exports(tmp_path):
    kinds = {
        "SDO:HypopneaFinding": "hypopnea",
        "SDO:ObstructiveApneaFinding": "obstructive_apnea",
        "SDO:SleepArousalFinding": "arousal",
        "SDO:HemoglobinOxygenDesaturationFinding": "desaturation",
        "SDO:PeriodicLeftLowerLimbMovementDuringSleep": "limb_movement",
        "SRO:CentralApnea": "central_apnea",
        "SRO:MixedHypopnea": "hypopnea",
        "SRO:SpO2Desaturation": "desaturation",
        "SRO:ArousalApnea": "arousal",
        "SRO:ArousalPLM": "arousal",
        "SRO:RespiratoryEventRelatedArousal": "rera",
        "SRO:EtCO2Artifact": None,
        "SRO:SpO2Artifact": "artifact",
        "SRO:PeriodicLimbMovementSeries": None,  # a series is no movement
        "AROUSAL-DESAT": "arousal",
    }
    marks = [("", concept, 10 * place, 5) for place, concept in enumerate(kinds)]
    text = look.nsrr_xml([2] * 6, marks)
    note = "<ScoredEvent><EventConcept>Technician Notes</EventConcept><Notes>Smith</Notes></ScoredEvent>"
    scoring, notes = read(tmp_path, text.replace("</ScoredEvents>", note * 5 + "</ScoredEvents>"))
    expected = [(10.0 * place, kind) for place, kind in enumerate(kinds.values()) if kind]
    assert [(e.onset_s, str(e.kind)) for e in scoring.events] == expected
    assert len(notes) == 1 and "2 annotation(s) with unknown terms" in notes[0]


def test_profusion_xml(tmp_path):
    events = [("Arousal ()", 40.5, 5), ("SpO2 desaturation", 50, 20), ("Mixed Hypopnea", 60, 12)]
    events += [("Limb Movement (Left)", 70, 1.5), ("Unsure", 80, 11)]
    scoring, notes = read(tmp_path, look.profusion_xml([0, 1, 2, 3, 4, 5, 6, 9, 10], events), 270)
    assert scoring.stages.tolist() == [W, N1, N2, N3, N3, REM, -1, -1, -1]
    # The catalogue of events that could be scored holds a central apnea; nobody scored one.
    assert [kind for kind, *_ in found(scoring)] == ["arousal", "desaturation", "hypopnea", "limb_movement"]
    assert any("1 annotation(s) with unknown terms" in note for note in notes)


def test_profusion_epochs_of_another_length(tmp_path):
    text = look.profusion_xml([0, 0, 0, 5, 5, 5]).replace("<EpochLength>30", "<EpochLength>20")
    assert read(tmp_path, text, 120)[0].stages.tolist() == [W, W, REM, REM]


@pytest.mark.parametrize("name", ["n.xml", "n.XML", "n.txt", "n"])
def test_the_root_element_says_what_it_is(tmp_path, name):
    assert read(tmp_path, look.nsrr_xml([2, 2]), 60, name)[0].stages.tolist() == [N2, N2]
    assert read(tmp_path, look.profusion_xml([5, 5]), 60, name)[0].stages.tolist() == [REM, REM]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("UTF-8", "UTF-16").encode("utf-16"),
        lambda text: text.replace("UTF-8", "windows-1252").replace("Compumedics", "Stra\xdfe").encode("cp1252"),
        lambda text: text.partition("?>\n")[2].encode(),
        lambda text: b"\n<!-- one -->\n<!-- two ?xml -->\n" + text.encode(),
        lambda text: text.replace("<PSG", "<!-- <CMPStudyConfig> -->\n<PSG", 1).encode(),
    ],
    ids=["bom", "utf-16", "cp1252", "no declaration", "comments before it", "a comment before the root"],
)
def test_encodings_and_comments(tmp_path, encode):
    assert read(tmp_path, encode(look.nsrr_xml([2, 5])), 60)[0].stages.tolist() == [N2, REM]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><PSGAnnotation>&l9;</PSGAnnotation>', "document type"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "n.xml">]><PSGAnnotation>&x;</PSGAnnotation>', "document type"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><PSGAnnotation/>', "document type"),
        ("<PSGAnnotation><ScoredEvents>", "damaged XML"),
        ('<?xml version="1.0" encoding="klingon"?><PSGAnnotation/>', "damaged XML"),
        ('<?xml version="1.0" encoding="shift_jis"?><PSGAnnotation/>', "damaged XML"),
        ("<html><body>log in first</body></html>", "another root element than .*PSGAnnotation"),
        ("<PSGAnnotation/>", "no stage and no event"),
        ("<CMPStudyConfig/>", "has no <EpochLength> in seconds"),
        ("<CMPStudyConfig><EpochLength>0</EpochLength></CMPStudyConfig>", "expected more than 0"),
        (look.nsrr_xml([2]).replace("<Start>0<", "<Start>x<"), "<ScoredEvent> 2 has no <Start> in seconds"),
        (look.nsrr_xml([2], [("", "Hypopnea", 5, "nan")]), "<ScoredEvent> 3 has no <Duration> in seconds"),
        (look.nsrr_xml([2], [("", "Hypopnea", 5, -1)]), "<ScoredEvent> 3 lasts -1 s"),
    ],
)
def test_hostile_and_damaged_xml(tmp_path, text, message):
    with pytest.raises(RecordingError, match=message) as error:
        read(tmp_path, text, 30)
    assert "n.xml" in str(error.value)


def test_xml_without_bound(tmp_path):
    (tmp_path / "n.xml").write_bytes(b"<PSGAnnotation>")
    with (tmp_path / "n.xml").open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RecordingError, match="bytes of XML"):
        read_scoring(tmp_path / "n.xml", 30)


def test_comments_that_never_end_are_no_hang(tmp_path):
    with pytest.raises(RecordingError, match="damaged XML"):
        read(tmp_path, "<!-- -->" * 50_000 + "<!--" * 50_000)


def test_the_dialect_that_a_cohort_names_must_be_the_files(tmp_path):
    with pytest.raises(RecordingError, match="root element is another than <CMPStudyConfig>"):
        read(tmp_path, look.nsrr_xml([2]), 30, dialect="profusion_xml")


# --- cohorts -----------------------------------------------------------------------------------------------


SHHS_LACKS = {"desaturation", "NASAL_PRESSURE"}


def shhs_tables(root, **changes):
    people = [
        {"nsrrid": 200001, "age_s1": 55, "gender": "01", "bmi_s1": 27.25, "staging3": 0, "staging5": 0},
        {"nsrrid": 200002, "age_s1": 90, "gender": "02", "bmi_s1": "", "staging3": "", "staging5": ""},
        {"nsrrid": 200003, "age_s1": 61, "gender": "2.0", "bmi_s1": "NA", "staging3": 1, "staging5": 0},
        {"nsrrid": 200004, "age_s1": 70, "gender": "1", "bmi_s1": 31, "staging3": 0, "staging5": 1},
    ]
    people[0] |= changes
    look.write_table(root, "shhs1-dataset-0.21.0.csv", people)
    second = {"nsrrid": 200001, "age_s2": 60.5, "gender": 1, "bmi_s2": 28, "slewake": 0}
    look.write_table(root, "shhs2-dataset-0.21.0.csv", [second])
    look.write_table(root, "shhs2-hrv-5min-0.21.0.csv", [{"nsrrid": 1}])


@pytest.fixture
def shhs(tmp_path):
    """A folder as downloaded: two visits of 200001, Profusion only, no XML, sleep and wake only."""
    root = tmp_path / "shhs"
    xml = look.nsrr_xml(CODES, [AROUSAL, *BREATHING])
    profusion = look.profusion_xml([5] * 6, [("Arousal ()", 5, 5), ("Unsure", 60, 12)])
    look.write_night(root, "shhs1-200001", "shhs1", look.SHHS1, nsrr=xml, profusion=profusion)
    two_thermistors = look.SHHS2 | {"NEW AIR": (8, "")}
    look.write_night(root, "shhs2-200001", "shhs2", two_thermistors, nsrr=xml)
    look.write_night(root, "shhs1-200002", "shhs1", look.SHHS1, profusion=profusion)
    look.write_night(root, "shhs1-200003", "shhs1", look.SHHS1)
    look.write_night(root, "shhs1-200004", "shhs1", look.SHHS1, nsrr=look.nsrr_xml([0, 2, 2, 2, 2, 0], BREATHING))
    shhs_tables(root)
    return root


def test_shhs_from_its_folders_to_the_manifest(shhs, tmp_path):
    out = tmp_path / "out"
    summary = prepare([shhs], out, cohort="shhs")
    assert summary.rejected == () and verify(out) == []
    nights = {night.night_id: night for night in read_manifest(out).nights}
    assert sorted(nights) == [
        "shhs1-200001",
        "shhs1-200002",
        "shhs1-200003",
        "shhs1-200004",
        "shhs2-200001",
    ]
    first, second = nights["shhs1-200001"], nights["shhs2-200001"]
    assert {c.slot: c.label for c in first.channels} == {
        "C3": "EEG(sec)",
        "C4": "EEG",
        "E1": "EOG(L)",
        "E2": "EOG(R)",
        "CHIN": "EMG",
        "ECG": "ECG",
        "THERMISTOR": "NEW AIR",
        "THORAX": "THOR RES",
        "ABDOMEN": "ABDO RES",
        "SPO2": "SaO2",
    }
    assert {c.source_rate_hz for c in first.channels} == {1, 10, 50, 125}
    assert {c.source_rate_hz for c in second.channels} == {1, 8, 64, 128, 256}
    assert all(c.good_share == 1 for c in (*first.channels, *second.channels))
    assert {c.slot for c in second.channels} == {c.slot for c in first.channels}
    # Stages and events; both visits are one person and stay together.
    assert first.stages == second.stages == STAGES
    assert first.event_counts == {"arousal": 1, "hypopnea": 2, "obstructive_apnea": 1}
    assert set(first.scored) == {"stages", "arousal", *BREATHING_EVENTS}
    assert any("unusable was left out: desaturation (1)" in note for note in first.notes)
    assert (first.subject_id, first.cohort, first.site) == ("shhs-200001", "shhs", "")
    assert (second.subject_id, second.split) == (first.subject_id, first.split)
    assert first.demographics == Demographics(55, "M", 27.25)
    assert second.demographics == Demographics(60.5, "M", 28)
    # Profusion where there is no NSRR XML; unscored nights are nights.
    assert nights["shhs1-200002"].stages == "444444"
    assert nights["shhs1-200002"].event_counts == {"arousal": 1, "hypopnea": 1}
    assert nights["shhs1-200002"].demographics == Demographics(90, "F", None)
    assert nights["shhs1-200003"].stages == "??????" and nights["shhs1-200003"].scored == ()
    # All sleep is stage 2 there, and an absent arousal means nothing.
    limited = nights["shhs1-200004"]
    assert limited.stages == "??????" and set(limited.scored) == BREATHING_EVENTS
    assert any("stages (6)" in note for note in limited.notes)


def test_shhs_in_parts(shhs, monkeypatch):
    monkeypatch.chdir(shhs / "polysomnography/edfs/shhs2")
    (night,) = find_nights([Path(".")], "shhs")
    assert night.scoring[0].is_file() and night.demographics.age_years == 60.5
    assert [s.night_id for s in find_nights([shhs / "polysomnography/edfs/shhs2"], "shhs")] == ["shhs2-200001"]
    edf = shhs / "polysomnography/edfs/shhs1/shhs1-200003.edf"
    (night,) = find_nights([edf], "shhs")
    assert night.scoring == () and night.unusable == {"stages", *SHHS_LACKS}  # staging3
    alone = shhs.parent / "elsewhere"
    alone.mkdir()
    for path in (edf, *shhs.rglob("shhs1-200003*"), *shhs.rglob("shhs1-dataset*")):
        (alone / path.name).write_bytes(path.read_bytes())
    (alone / "shhs1-200003-nsrr.xml").write_text(look.nsrr_xml(CODES))
    (night,) = find_nights([alone], "shhs")
    assert night.demographics.age_years == 61
    assert [path.name for path in night.scoring] == ["shhs1-200003-nsrr.xml"]


def test_the_harmonized_table_is_preferred(shhs):
    row = {"nsrrid": 200001, "visitnumber": 1, "nsrr_age": 54.5, "nsrr_sex": "female", "nsrr_bmi": ""}
    row["nsrr_flag_spsw"] = "sleep/wake only"
    other = row | {"visitnumber": 2, "nsrr_sex": "not reported", "nsrr_flag_spsw": "unknown"}
    look.write_table(shhs, "shhs-harmonized-dataset-0.21.0.csv", [row, other])
    nights = {s.night_id: s for s in find_nights([shhs], "shhs")}
    assert nights["shhs1-200001"].demographics == Demographics(54.5, "F", 27.25)
    assert nights["shhs1-200001"].unusable == SLEEP_WAKE_ONLY | SHHS_LACKS
    assert nights["shhs2-200001"].demographics == Demographics(54.5, "M", 28)
    assert nights["shhs2-200001"].unusable == SHHS_LACKS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gender": 3}, "csv, line 2: column gender: expected one of 1, 2"),
        ({"age_s1": "01/02/1940"}, "csv, line 2: column age_s1: expected a number"),
        ({"age_s1": 1940}, "csv, line 2: column age_s1: expected a number above 0, up to 130"),
        ({"bmi_s1": "A"}, "csv, line 2: column bmi_s1: expected a number"),
        ({"nsrrid": 200002}, "csv, line 3: a second row"),
        ({"staging5": "yes"}, "csv, line 2: column staging5: expected one of 0, 1"),
        ({"staging5": "1,0"}, "csv, line 2: 8 cells, expected 7"),
        ({"staging5": "1" * 200_000}, "csv, line 2: field larger than"),
    ],
)
def test_a_table_that_cannot_be_understood(shhs, changes, message):
    shhs_tables(shhs, **changes)
    with pytest.raises(ValueError, match=message) as error:
        find_nights([shhs], "shhs")
    assert "1940" not in str(error.value) and "shhs1-dataset-0.21.0.csv" in str(error.value)


def test_tables_that_are_missing(shhs):
    with pytest.raises(ValueError, match=r"other: no such file"):
        find_nights([shhs, shhs / "other"], "shhs")
    with pytest.raises(ValueError, match=r"datasets: no recording found; expected shhs1-"):
        find_nights([shhs, shhs / "datasets"], "shhs")
    look.write_table(shhs, "shhs1-dataset-0.20.0.csv", [{"nsrrid": 1}])
    with pytest.raises(ValueError, match=r"2 versions of a table, shhs1-dataset-0.20.0.csv, shhs1-"):
        find_nights([shhs], "shhs")
    (shhs / "datasets/shhs1-dataset-0.21.0.csv").unlink()
    with pytest.raises(ValueError, match=r"0.20.0.csv: no column age_s1, bmi_s1, gender, staging3, staging5"):
        find_nights([shhs], "shhs")
    (shhs / "datasets/shhs1-dataset-0.20.0.csv").unlink()
    with pytest.raises(ValueError, match=r"shhs1-dataset-\*.csv: no such table"):
        find_nights([shhs], "shhs")


def test_tables_of_other_people(shhs):
    look.write_table(shhs, "shhs2-dataset-0.21.0.csv", [dict(nsrrid=1, age_s2=50, gender=1, bmi_s2=20, slewake=0)])
    with pytest.raises(ValueError, match="none of its 1 persons is among the recordings"):
        find_nights([shhs], "shhs")


def prepared(root, out, cohort):
    assert prepare([root], out, cohort=cohort).rejected == ()
    return {night.night_id: night for night in read_manifest(out).nights}


def test_mesa(tmp_path):
    root = tmp_path / "mesa"
    leg = ("Limb Movement|Limb Movement", "Limb movement - left|Limb Movement (Left)", 20, 2)
    xml = look.nsrr_xml(CODES, [AROUSAL, leg, *BREATHING])
    look.write_night(root, "mesa-sleep-0001", "", look.MESA, nsrr=xml)
    new = {("Aux_AC" if label == "Therm" else label): trace for label, trace in look.MESA.items()}
    look.write_night(root, "mesa-sleep-0027", "", new, nsrr=xml)
    look.write_night(root, "mesa-sleep-1738", "", look.MESA, nsrr=xml)
    row = {"mesaid": 1, "gender1": 0, "sleepage5c": 69, "site5c": 5, "bmi5c": 24.5, "slewake5": 8}
    rows = [row, row | {"mesaid": 27, "gender1": 1, "slewake5": 1}, row | {"mesaid": 1738, "site5c": ""}]
    look.write_table(root, "mesa-sleep-dataset-0.7.0.csv", rows)
    nights = prepared(root, tmp_path / "out", "mesa")
    night = nights["mesa-sleep-0001"]
    labels = {c.slot: c.label for c in night.channels}
    assert labels["C4"] == "EEG3" and labels["ECG"] == "EKG" and labels["THERMISTOR"] == "Therm"
    assert (labels["E1"], labels["E2"], labels["THORAX"]) == ("EOG-L", "EOG-R", "Thor")
    assert not any("Off" in label for label in labels.values())
    assert (night.subject_id, night.site) == ("mesa-0001", "JHU")
    assert night.demographics == Demographics(69, "F", 24.5)
    assert night.event_counts == {
        "arousal": 1,
        "desaturation": 1,
        "hypopnea": 2,
        "limb_movement": 1,
        "obstructive_apnea": 1,
    }
    other = nights["mesa-sleep-0027"]
    assert {c.slot: c.label for c in other.channels}["THERMISTOR"] == "Aux_AC"
    assert other.stages == "??????" and not {"stages", "arousal"} & set(other.scored)
    assert nights["mesa-sleep-1738"].scored == () and nights["mesa-sleep-1738"].site == ""


def test_mros(tmp_path):
    root = tmp_path / "mros"
    leg = ("Limb Movement|Limb Movement", "Limb movement - left|Limb Movement (Left)", 20, 2)
    xml = look.nsrr_xml(CODES, [AROUSAL, leg, *BREATHING], wrong_durations=True)
    only_stages = look.nsrr_xml(CODES)
    for subject, text in (("aa0001", xml), ("aa0236", only_stages), ("aa2033", xml), ("aa2159", xml)):
        look.write_night(root, f"mros-visit1-{subject}", "visit1", look.MROS1, nsrr=text)
    profusion = look.profusion_xml([5] * 6)
    look.write_night(root, "mros-visit1-aa1510", "visit1", look.MROS1, nsrr=xml, profusion=profusion)
    look.write_night(root, "mros-visit2-aa0001", "visit2", look.MROS2, nsrr=xml)
    row = {"nsrrid": "AA0001", "vsage1": 77, "gender": 2, "hwbmi": 26.125, "poprstag": "M"}
    look.write_table(root, "mros-visit1-dataset-0.6.0.csv", [row, row | {"nsrrid": "AA2033", "hwbmi": "A"}])
    second_row = {"nsrrid": "AA0001", "vs2age1": 84, "gender": 2}
    look.write_table(root, "mros-visit2-dataset-0.6.0.csv", [second_row], encoding="utf-8-sig")
    nights = prepared(root, tmp_path / "out", "mros")
    first, second = nights["mros-visit1-aa0001"], nights["mros-visit2-aa0001"]
    referential = {
        "C3": "C3 - A2",
        "C4": "C4 - A1",
        "E1": "LOC - A2",
        "E2": "ROC - A1",
        "CHIN": "L Chin - R Chin",
        "LEG_L": "Leg L",
        "LEG_R": "Leg R",
        "ECG": "ECG L - ECG R",
        "THERMISTOR": "Airflow",
        "NASAL_PRESSURE": "Cannula Flow",
        "THORAX": "Thoracic",
        "ABDOMEN": "Abdominal",
        "SPO2": "SAO2",
    }
    assert {c.slot: c.label for c in first.channels} == referential
    assert {c.slot: c.label for c in second.channels}["E2"] == "E2 - M1"
    assert {c.slot for c in second.channels} == set(referential) - {"LEG_L", "LEG_R"}
    assert any("'Leg L' is not used: the cohort says" in note for note in second.notes)
    assert first.stages == second.stages == STAGES
    assert "limb_movement" in first.scored and "limb_movement" not in second.scored
    assert "limb_movement" not in second.event_counts and second.event_counts["hypopnea"] == 2
    assert first.demographics == Demographics(77, "M", 26.125)
    assert second.demographics == Demographics(84, "M", None)
    assert first.subject_id == second.subject_id == "mros-aa0001" and first.split == second.split
    assert nights["mros-visit1-aa0236"].scored == ("stages",)  # its events were lost, not absent
    wrong = nights["mros-visit1-aa2033"]
    assert wrong.stages == "??????" and {"arousal", *BREATHING_EVENTS} <= set(wrong.scored)
    assert wrong.demographics == Demographics(77, "M", None)
    assert nights["mros-visit1-aa2159"].scored == ()
    assert nights["mros-visit1-aa1510"].stages == "444444"  # Profusion: its NSRR XML is another man's


def test_what_two_cohorts_share_is_no_cohort(tmp_path):
    with pytest.raises(ValueError, match=r"expected one of cap, .*generic, .*shhs") as error:
        find_nights([tmp_path], "_nsrr")
    assert "_tables" not in str(error.value)


def test_nsrr_xml_beside_any_recording(tmp_path):
    look.write_edf(tmp_path / "n.edf", look.SHHS1, 60)
    (tmp_path / "n-nsrr.xml").write_text(look.nsrr_xml([2, 5], [BREATHING[1]]))
    (night,) = find_nights([tmp_path])
    assert [path.name for path in night.scoring] == ["n-nsrr.xml"]
    loaded = load_night(night.recording, night.scoring)
    assert loaded.scoring.stages.tolist() == [N2, REM] and loaded.scoring.events == ()


def test_what_a_cohort_says_of_a_night_makes_it_another(shhs, tmp_path, monkeypatch):
    edf = shhs / "polysomnography/edfs/shhs1/shhs1-200001.edf"
    assert prepare([edf], tmp_path / "out", cohort="shhs").kept == 0
    assert prepare([edf], tmp_path / "out", cohort="shhs").kept == 1
    from data_pipeline.cohorts import shhs as module

    found = module.find_nights
    monkeypatch.setattr(module, "find_nights", lambda inputs: [replace(s, terms={}) for s in found(inputs)])
    summary = prepare([edf], tmp_path / "out", cohort="shhs")
    assert summary.kept == 0 and summary.nights[0].event_counts["hypopnea"] == 1
    more = lambda inputs: [replace(s, terms={}, unusable=s.unusable | APNEAS) for s in found(inputs)]  # noqa: E731
    monkeypatch.setattr(module, "find_nights", more)
    summary = prepare([edf], tmp_path / "out", cohort="shhs")
    assert summary.kept == 0 and "obstructive_apnea" not in summary.nights[0].event_counts


def test_an_unusable_thing_must_be_known(tmp_path):
    path = look.write_edf(tmp_path / "n.edf", look.SHHS1, 30)
    with pytest.raises(ValueError, match=r"unusable: \['LEGS'\]"):
        load_night(path, unusable={"LEGS"})
