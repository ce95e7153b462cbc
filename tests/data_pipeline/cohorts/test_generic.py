"""Any folder: scorings by their names, people by their table."""

import pytest

from data_pipeline.cohorts import find_nights
from data_pipeline.cohorts.generic import overlooked
from data_pipeline.night import Demographics
from tests.support.nights import write_recordings


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
    for name in ("a night.csv", "b_hypnogram.csv", "b.xml", "bb.csv", "readme.txt", "sub/c_events.csv"):
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
        "b": ["b-Hypnogram.edf", "b.txt", "b.xml", "b_hypnogram.csv"],
        "c": ["c_events.csv"],
    }
    assert [path.name for path in overlooked([tmp_path], list(sources.values()))] == ["alone.edf", "bb.csv"]
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


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,age\nn1,3\n", "expected night_id or file"),
        ("night_id,sex\nn1,female\n", "line 2: column sex: expected one of"),
        ("night_id,age_years\nn1,old\n", "line 2: column age_years: expected a number 0-130"),
        ("night_id,bmi\nn1,nan\n", "line 2: column bmi: expected a number"),
        ("night_id,split\nn1,dev\n", "line 2: column split: expected one of"),
        ("night_id,sex\nn1,F\nn1,M\n", "line 3: night 'n1' is there twice"),
        ("night_id,sex\nn1,F,7\n", "line 2: more cells than columns"),
        ("night_id,sex\nN-01,F\n", "none of its 1 nights is a recording"),
    ],
)
def test_a_damaged_demographics_table_is_refused(tmp_path, table, message):
    write_recordings(tmp_path, [1])
    (tmp_path / "demographics.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        find_nights([tmp_path])
