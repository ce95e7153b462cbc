"""Any folder: scorings by their names, people by their table."""

import re

import pytest

from data_pipeline.cohorts import find_nights, look
from data_pipeline.night import Demographics


def edf_header(*labels):
    """The first bytes of an EDF+ with these labels, enough to tell what it holds."""
    return b" " * 252 + f"{len(labels):<4}".encode() + b"".join(f"{label:<16}".encode() for label in labels)


def test_generic_pairs_scoring_by_name_and_reads_demographics(tmp_path):
    for name in ("a night.edf", "b.BDF", "SC4001E0-PSG.edf", "sub/c.rec"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(edf_header("EEG C3", "EDF Annotations"))
    for name in ("SC4001EC-Hypnogram.edf", "b-Hypnogram.edf", "alone.edf"):
        (tmp_path / name).write_bytes(edf_header("EDF Annotations"))
    for name in ("a night.csv", "b_hypnogram.csv", "b.xml", "bb.csv", "readme.txt", "sub/c_events.csv", "b.BDF.tsv"):
        (tmp_path / name).write_text("")
    (tmp_path / "a night.txt").write_text("Patient was restless, see notes\n")
    (tmp_path / "b.txt").write_text("onset_s;duration_s;type\n")
    (tmp_path / "demographics.csv").write_text(
        "night_id,subject_id,site,age_years,sex,bmi,split\na night,p1,x,41.5,F,,test\nb,p1,x,,M,22,\nabsent,,,,,,\n"
    )
    sources = {source.night_id: source for source in find_nights([tmp_path])}
    assert sorted(sources) == ["SC4001E0-PSG", "a_night", "b", "c"]
    names = {key: [path.name for path in source.scoring] for key, source in sources.items()}
    assert names == {
        "SC4001E0-PSG": ["SC4001EC-Hypnogram.edf"],
        "a_night": ["a night.csv"],
        "b": ["b-Hypnogram.edf", "b.BDF.tsv", "b.txt", "b.xml", "b_hypnogram.csv"],
        "c": ["c_events.csv"],
    }
    found = look([tmp_path])
    assert [path.name for path in found.left] == ["a night.txt", "alone.edf", "bb.csv", "readme.txt"]
    assert found.remarks == (
        "demographics.csv: 1 of 3 rows match no recording, or one that has a row: line 4",
        "demographics.csv: no row of 2 of 4 recordings: SC4001E0-PSG.edf, c.rec",
    )
    assert sources["a_night"].demographics == Demographics(41.5, "F", None)
    assert (sources["a_night"].split, sources["b"].split, sources["b"].subject_id) == ("test", None, "p1")
    assert sources["c"].subject_id == "c" and sources["c"].demographics == Demographics()
    assert [s.night_id for s in find_nights([tmp_path / "b.BDF"])] == ["b"]


def test_names_of_bids_pair_a_recording_with_its_events(tmp_path):
    folder = tmp_path / "sub-01" / "ses-02" / "eeg"
    folder.mkdir(parents=True)
    (folder / "sub-01_ses-02_task-sleep_eeg.edf").write_bytes(edf_header("EEG C3"))
    for name in ("events.tsv", "events.json", "channels.tsv"):
        (folder / f"sub-01_ses-02_task-sleep_{name}").write_text("{}")
    (source,) = find_nights([tmp_path])
    assert [path.name for path in source.scoring] == ["sub-01_ses-02_task-sleep_events.tsv"]
    assert source.subject_id == "sub-01"


def test_scorings_of_programs_lie_beside_by_name(tmp_path):
    (tmp_path / "n.edf").write_bytes(edf_header("EEG C3"))
    known = ("n.annot", "n.eannot", "n.ids", "n.rml", "n.xlsx", "n-nsrr.annot", "n_hypnogram.txt", "n_sleepscoring.txt")
    for name in known:
        (tmp_path / name).write_text("")
    (tmp_path / "n.txt").write_text("W\nN1\nN2\n")
    (tmp_path / "n.sta").write_text("called the doctor at three o'clock\n")
    (source,) = find_nights([tmp_path])
    assert [path.name for path in source.scoring] == sorted([*known, "n.txt"])


def recordings(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(edf_header("EEG C3"))


def people(folder, table, *names, file="demographics.csv"):
    """Night -> (subject, age, sex), and the remarks, of recordings with a table beside them."""
    recordings(folder, *names)
    (folder / file).write_bytes(table.encode() if isinstance(table, str) else table)
    found = look([folder])
    told = {s.night_id: (s.subject_id, s.demographics.age_years, s.demographics.sex) for s in found.sources}
    assert not found.left
    return told, found.remarks


@pytest.mark.parametrize(
    ("table", "age", "sex"),
    [
        ("night_id;age_years;sex;bmi\nn1;34,5;F;23,4\n", 34.5, "F"),
        ("Night_ID,Age,Gender\nn1,34,female\n", 34.0, "F"),
        ("file\tage\tsex\nn1.edf\t34\tm\n", 34.0, "M"),
        ("id,Alter,Geschlecht\nN01,34,männlich\n", 34.0, "M"),
        ("night_id,age_years,sex,bmi\nn1,NA,F,nan\n", None, "F"),
    ],
)
def test_a_table_is_read_as_laboratories_write_it(tmp_path, table, age, sex):
    told, remarks = people(tmp_path, table, "n1.edf")
    assert told == {"n1": ("n1", age, sex)} and not remarks


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        ("n1,p1,340,F,,", "line 2: column age_years: expected a number 0-130; taken as unknown"),
        ("n1,p1,Jane Doe,F,,", "line 2: column age_years: expected a number 0-130; taken as unknown"),
        ("n1,p1,,7,,", "line 2: column sex: expected F or M; taken as unknown"),
        ("n1,p1,,F,1e3,", "line 2: column bmi: expected a number"),
        ("n1,p1,,F,,dev", "line 2: column split: expected one of train, val, test"),
        ("n1,p1,,F,,,Jane", "line 2: more cells than columns"),
        ("n1,p1,,F,,\nn1,p9,9,M,,", "1 of 3 rows match no recording, or one that has a row: line 3"),
        ("n1,p1,,F,,\nJane,p9,9,M,,", "1 of 3 rows match no recording, or one that has a row: line 3"),
    ],
)
def test_what_is_wrong_in_a_table_costs_one_cell_or_row(tmp_path, rows, remark):
    table = f"night_id,subject_id,age_years,sex,bmi,split\n{rows}\nn2,p2,44,M,,\n"
    told, remarks = people(tmp_path, table, "n1.edf", "n2.edf")
    assert told["n2"] == ("p2", 44.0, "M") and told["n1"][0] == "p1"
    assert any(remark in said for said in remarks) and "Jane" not in str(remarks)


@pytest.mark.parametrize("table", ["Jane,3\nn1,3\n", "", "\n", b"\x00\x01\xff\x00\n"])
def test_what_is_no_table_of_people_is_said_and_costs_nothing_else(tmp_path, table):
    told, remarks = people(tmp_path, table, "n1.edf")
    assert (
        told == {"n1": ("n1", None, None)} and "demographics.csv: not used" in remarks[0] and "Jane" not in remarks[0]
    )


def test_ids_match_without_case_zeros_and_separators_the_exact_one_first(tmp_path):
    table = "night_id,subject_id\n1,p1\nN002,p2\nNIGHT_1,p3\nx1,p4\nX01,p5\nx1.edf,p6\nX001,p7\n"
    told, remarks = people(tmp_path, table, "001.edf", "n002.edf", "night 1.edf", "x1.edf", "x01.edf")
    assert {night: person for night, (person, *_) in told.items()} == {
        **{"001": "p1", "n002": "p2", "night_1": "p3", "x1": "p4", "x01": "p5"}
    }
    assert len(remarks) == 1 and "2 of 7 rows match no recording, or one that has a row: line 7, 8" in remarks[0]


def test_a_person_is_one_whatever_the_spelling_and_in_one_split(tmp_path):
    table = "night_id,subject_id,split\na,P01,train\nb,p1,test\nc,p2,val\n"
    recordings(tmp_path, "a.edf", "b.edf", "c.edf")
    (tmp_path / "demographics.csv").write_text(table)
    found = look([tmp_path])
    assert [(s.subject_id, s.split) for s in found.sources] == [("P01", None), ("P01", None), ("p2", "val")]
    assert sum("one split for all nights of a person" in said for said in found.remarks) == 2


def test_a_table_above_names_people_by_their_folder_or_the_first_word_of_a_name(tmp_path):
    table = "participant_id\tage\tsex\nsub-01\t34\tF\nS2\t50\tM\nS3\t1\tF\n"
    names = ("sub-01/eeg/sub-01_task-sleep_eeg.edf", "S002/psg.edf", "more/s2_second.edf")
    told, remarks = people(tmp_path, table, *names, file="participants.tsv")
    assert {night: (age, sex) for night, (_, age, sex) in told.items()} == {
        "sub-01_task-sleep_eeg": (34.0, "F"),
        "psg": (50.0, "M"),
        "s2_second": (50.0, "M"),
    }
    assert remarks == ("participants.tsv: 1 of 3 rows match no recording, or one that has a row: line 4",)


def test_recordings_of_one_name_are_called_by_their_folders(tmp_path):
    recordings(tmp_path, "S001/psg.edf", "S001/second.edf", "S002/psg.edf", "alone/n.edf", "alone/N.bdf")
    assert {s.night_id: s.subject_id for s in find_nights([tmp_path])} == {
        **{"S001-psg": "S001-psg", "S001-second": "S001-psg", "S002-psg": "S002-psg"},
        **{"N-bdf": "N-bdf", "n-edf": "n-edf"},
    }


def test_names_in_other_scripts_are_ids_of_their_own(tmp_path):
    recordings(tmp_path, "Müller 1.edf", "Ünal 2.edf", "夜一.edf", "夜二.edf", "Ночь.edf")
    ids = [s.night_id for s in find_nights([tmp_path])]
    assert ids[0] == "Muller_1" and "Unal_2" in ids and len(set(ids)) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*", night_id, re.ASCII) for night_id in ids)


def test_what_a_system_leaves_is_no_recording_and_what_links_lead_to_is_one(tmp_path):
    recordings(tmp_path, "in/n1.edf", "elsewhere/n2.edf", "in/.git/annex/n1.edf", "in/__MACOSX/n1.edf")
    (tmp_path / "in/._n1.edf").write_bytes(b"\0\5\x16\7")
    (tmp_path / "in/.DS_Store").write_bytes(b"")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    found = look([tmp_path / "in"])
    assert [s.night_id for s in found.sources] == ["n1", "n2"] and not found.left


@pytest.mark.parametrize("suffix", ["sta", "npy", "docx", "edf.gz", "dat", "xyz"])
def test_a_file_beside_a_recording_is_left_by_name_whatever_its_suffix(tmp_path, suffix):
    recordings(tmp_path, "n1.edf", "n10.edf")
    (tmp_path / f"n1.{suffix}").write_bytes(b"\xff")
    (tmp_path / "list.pdf").write_bytes(b"\xff")
    assert [path.name for path in look([tmp_path]).left] == [f"n1.{suffix}", "list.pdf"]
    assert [path.name for path in look([tmp_path / "n1.edf"]).left] == [f"n1.{suffix}"]


def test_no_recording_says_what_is_there(tmp_path):
    (tmp_path / "n1.edf.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no recording found.*files that are there: 1 \.gz"):
        find_nights([tmp_path])
