"""Files of one night: joined where their headers say so, of one person where not."""

import datetime

import edfio
import pytest

from data_pipeline.cohorts import look
from data_pipeline.cohorts._parts import nights_of
from data_pipeline.prepare.run import prepare
from tests.data_pipeline.readers.test_joined import part


@pytest.mark.parametrize(
    ("names", "night"),
    [
        (("00000001-000001[001]", "00000001-000001[002]"), "00000001-000001"),
        (("night1_part1", "night1_part2"), "night1"),
        (("n Part 2", "n Part 10"), "n"),
        (("n_seg01", "n_seg02"), "n"),
        (("n (1 of 2)", "n (2 of 2)"), "n"),
        (("n-Teil1", "n-Teil2"), "n"),
        (("n.part_a", "n.part_b"), "n"),
        (("20200101_223000_BRP", "20200102_013000_SAD", "20200102_013001_BRP"), "20200101"),
    ],
)
def test_parts_are_known_by_their_names(tmp_path, names, night):
    paths = tuple(tmp_path / f"{name}.edf" for name in names)
    assert nights_of(paths[::-1]) == [(night, paths)]


@pytest.mark.parametrize(
    "names", [("S1", "S2"), ("s_001", "s_002"), ("night1", "night2"), ("part1", "part2"), ("n_part1",)]
)
def test_numbers_alone_are_no_parts(tmp_path, names):
    paths = [tmp_path / f"{name}.edf" for name in names]
    assert nights_of(paths) == [(path.stem, (path,)) for path in paths]


def test_parts_become_one_night_with_the_scoring_of_the_whole(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    part(folder / "n[001].edf", (22, 0, 0), 60)
    part(folder / "n[002].edf", (22, 1, 30), 60)
    (folder / "n.csv").write_text("onset_s,duration_s,stage\n" + "".join(f"{30 * k},30,N2\n" for k in range(5)))
    (folder / "demographics.csv").write_text("night_id,age_years\nn,50\n")
    summary = prepare([folder], tmp_path / "out")
    (night,) = summary.nights
    assert (night.night_id, night.n_epochs, night.stages, night.demographics.age_years) == ("n", 5, "22222", 50)
    assert "Joined from 2 files; 1 gap(s), 30 s in all" in summary.table() and not summary.remarks
    assert prepare([folder], tmp_path / "out").kept == 1
    part(folder / "n[002].edf", (22, 1, 40), 60)
    assert prepare([folder], tmp_path / "out").kept == 0


def test_parts_that_cannot_be_joined_are_nights_of_one_person(tmp_path):
    part(tmp_path / "n_part1.edf", (22, 0, 0), 60)
    part(tmp_path / "n_part2.edf", (22, 0, 30), 60)
    part(tmp_path / "m_part1.edf", (22, 0, 0), 60)
    part(tmp_path / "m_part2.edf", (22, 2, 0), 60)
    (tmp_path / "m_part2.csv").write_text("onset_s,duration_s,stage\n0,30,N2\n")
    found = look([tmp_path])
    assert [(s.night_id, s.subject_id) for s in found.sources] == [
        *(("m_part1", "m_part1"), ("m_part2", "m_part1"), ("n_part1", "n_part1"), ("n_part2", "n_part1"))
    ]
    assert "m: 2 files are parts of one night by name, but each has a scoring of its own" in found.remarks[0]
    assert "n: 2 files are parts of one night by name, but by their headers" in found.remarks[1]


def test_sessions_of_one_device_are_nights_of_one_person(tmp_path):
    for day, name, hour in (
        (1, "20200101_223000_BRP", 22),
        (2, "20200102_010000_BRP", 1),
        (2, "20200102_230000_BRP", 23),
    ):
        folder = tmp_path / "DATALOG" / ("20200102" if hour == 23 else "20200101")
        folder.mkdir(parents=True, exist_ok=True)
        info = {"recording": edfio.Recording(startdate=datetime.date(2020, 1, day))}
        part(folder / f"{name}.edf", (hour, 30 if hour == 22 else 0, 0), 60, "Flow.40ms", rate_hz=25, **info)
    sources = look([tmp_path]).sources
    assert [(s.night_id, s.subject_id, len(s.parts)) for s in sources] == [
        ("20200101", "20200101", 1),
        ("20200102_230000_BRP", "20200101", 0),
    ]
