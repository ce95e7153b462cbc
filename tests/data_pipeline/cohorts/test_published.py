"""Cohorts by the names of their files: whose night it is, which scoring belongs to it, and that it is read."""

from datetime import time
from pathlib import Path

import edfio
import h5py
import numpy as np
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.cohorts import find_nights
from data_pipeline.night import BREATHING_EVENTS, Demographics
from tests.support.lookalikes import scorings as look

W, N1, N2, N3, REM = range(5)
EXPECTED = [W, N1, N2, N3, REM] * 2
APNEAS = [("obstructive_apnea", 65, 12), ("obstructive_apnea", 215, 12)]
STAGE_MARKS = [edfio.EdfAnnotation(30 * k, 30, f"Sleep stage {s}") for k, s in enumerate(look.STAGES)]


def write(root: Path, files: dict) -> Path:
    """Files by their place; None is a file of which only the name counts."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, edfio.Edf):
            content.write(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else (content or "").encode())
    return root


def edf(*signals: edfio.EdfSignal, annotations=None) -> edfio.Edf:
    return edfio.Edf(list(signals), annotations=annotations, starttime=time(22, 30))


def read(source, seconds=300):
    """The stages and the events of a night, from all of its files."""
    scorings = [
        read_scoring(p, seconds, source.scored, dialect=source.dialect, terms=source.terms, start_clock="22:30:00")[0]
        for p in source.scoring
    ]
    stages = next(s.stages.tolist() for s in scorings if (s.stages >= 0).any())
    return stages, [(str(e.kind), e.onset_s, e.duration_s) for s in scorings for e in s.events]


EDF_STAGES = edf(annotations=STAGE_MARKS)
UCDDB_CODES = dict(zip(look.STAGES, (0, 2, 3, 5, 1), strict=False))
RESPEVT = "Time  Type PB/CS Duration\n\n\n" + "".join(
    f"{look.clock(t)}  APNEA-O   -   {d}  90 4.0\n" for t, d in look.APNEAS
)
RUNS = look.lines(lambda t, s: f"{t},30,{s}")
UCDDB = {
    **dict.fromkeys(("ucddb002.rec", "ucddb002_lifecard.edf")),
    "ucddb002_respevt.txt": RESPEVT,
    "ucddb002_stage.txt": look.lines(lambda t, s: str(UCDDB_CODES[s])),
}
MASS = "01-03-0001"
STAGES_CSV = {"W": "Wake", "N1": "Stage1", "N2": "Stage2", "N3": "Stage3", "REM": "REM"}

STAGES_ROWS = look.lines(lambda t, s: f"{look.clock(t)},{30 * (t > 0)}, {STAGES_CSV[s]}")
STAGES = {
    "BOGN/BOGN00001.edf": None,
    "BOGN/BOGN00001.csv": f"Start Time,Duration (seconds),Event\n{STAGES_ROWS}22:34:59,0,LightsOn, a, b\n",
}
BIDS = "sub-S00011_ses-1_task-"
HSP_ROWS = look.lines(lambda t, s: f"{t // 30 + 1},{look.clock(t)},30,Sleep_stage_{s}")
HSP = {
    f"bids/S0001/sub-S00011/ses-1/eeg/{BIDS}PSG_eeg.edf": edf(edfio.EdfSignal(np.arange(99.0), 1)),
    f"bids/S0001/sub-S00011/ses-1/eeg/{BIDS}psg_annotations.csv": f"epoch,time,duration,event\n{HSP_ROWS}",
}


@pytest.mark.parametrize(
    ("cohort", "files", "expected", "events"),
    [
        ("hmc", {"SN001.edf": None, "SN001_sleepscoring.edf": EDF_STAGES}, ("SN001", "SN001", "HMC"), []),
        ("dcsm", {"tp1/psg.edf": None, "tp1/psg.h5": None, "tp1/hypnogram.ids": RUNS}, ("tp1", "tp1", "DCSM"), []),
        ("ucddb", UCDDB, ("ucddb002", "ucddb002", "UCD"), APNEAS),
        ("mass", {f"{MASS} PSG.edf": None, f"{MASS} Base.edf": EDF_STAGES}, (MASS, MASS, "SS3"), []),
        ("cap", {"n1.edf": None, "n1.txt": look.remlogic("."), "n1.edf.st": None}, ("n1", "n1", "Parma"), APNEAS),
        ("stages", STAGES, ("BOGN00001", "BOGN00001", "BOGN"), []),
        ("hsp", HSP, (f"{BIDS}PSG_eeg", "sub-S00011", "S0001"), []),
    ],
)
def test_nights_of_published_cohorts(tmp_path, cohort, files, expected, events):
    (source,) = find_nights([write(tmp_path, files)], cohort)
    assert (source.night_id, source.subject_id, source.site) == expected and source.cohort == cohort
    assert read(source) == (EXPECTED, events)


def test_ages_of_hsp(tmp_path):
    path = "sub-S00011/ses-1/eeg/sub-S00011_ses-1_task-psg_eeg.edf"
    table = "SiteID,BidsFolder,SessionID,AgeAtVisit,SexDSC\nS0001,sub-S00011,1,61.5,Female\nS0001,sub-S00012,1,old,\n"
    write(tmp_path, {path: edf(edfio.EdfSignal(np.arange(99.0), 1)), "bdsp_psg_master_2023.csv": table})
    assert find_nights([tmp_path], "hsp")[0].demographics == Demographics(61.5, "F", None)
    write(tmp_path, {"other.edf": edf(edfio.EdfSignal(np.arange(99.0), 1))})
    with pytest.raises(ValueError, match="not named as a night of HSP"):
        find_nights([tmp_path], "hsp")


def expert_annotations() -> edfio.Edf:
    """Stages at 1/30 Hz, apneas at 1 Hz: REM is 4 and W 5 there."""
    resp = np.zeros(300)
    for onset, length in look.APNEAS:
        resp[onset : onset + length] = 1
    stage = np.array([5.0, 3, 2, 1, 4] * 2)
    signals = [
        edfio.EdfSignal(data, rate, label=label, physical_range=(0, 10), digital_range=(0, 10))
        for data, rate, label in ((stage, 1 / 30, "stage_expert"), (resp, 1, "resp_expert"))
    ]
    return edfio.Edf(signals, data_record_duration=30)


def test_physionet_2026(tmp_path):
    name = "sub-I00021_ses-2"
    files = {
        f"physiological_data/I0002/{name}.edf": None,
        f"human_annotations/I0002/{name}_expert_annotations.edf": expert_annotations(),
        f"algorithmic_annotations/I0002/{name}_caisr_annotations.edf": None,
        "demographics.csv": "SiteID,BidsFolder,SessionID,Age,Sex,BMI,x\nI0002,sub-I00021,2,70,Male,31,True\n",
    }
    (source,) = find_nights([write(tmp_path, files)], "physionet2026")
    assert (source.night_id, source.subject_id, source.site) == (name, "sub-I00021", "I0002")
    assert source.demographics == Demographics(70, "M", 31)
    assert source.scored == {"stages", "rera", *BREATHING_EVENTS}
    assert read(source) == (EXPECTED, APNEAS)


def test_dod_holds_its_hypnogram(tmp_path):
    path = tmp_path / "dodo" / "0123abcd-0123-0123-0123-0123456789ab.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["signals/eeg/C3_M2"] = np.ones(9)
    (source,) = find_nights([tmp_path], "dod")
    assert (source.night_id, source.site, source.scored) == (path.stem, "DOD-O", {"stages"})


def nsrr_table(name: str, **cells) -> dict[str, str]:
    return {f"datasets/{name}": ",".join(cells) + "\n" + ",".join(map(str, cells.values())) + "\n"}


def test_cfs_and_homepap(tmp_path):
    table = nsrr_table("cfs-visit5-dataset-0.7.0.csv", nsrrid=800002, age=31, male="01", bmi=25, slewake=1)
    (source,) = find_nights(
        [write(tmp_path / "cfs", table | {"polysomnography/edfs/cfs-visit5-800002.edf": None})], "cfs"
    )
    assert source.demographics == Demographics(31, "M", 25) and "stages" in source.unusable
    assert "unsure" not in source.terms
    table = nsrr_table("homepap-baseline-dataset-0.2.0.csv", nsrrid=1600001, age=50, gender=0, bmi=40)
    names = [f"polysomnography/edfs/{k}/homepap-{k.replace('/', '-')}-1600001.edf" for k in ("lab/full", "home")]
    xml = {"polysomnography/annotations-events-nsrr/lab/full/homepap-lab-full-1600001-nsrr.xml": None}
    home, lab = find_nights([write(tmp_path / "hp", table | dict.fromkeys(names) | xml)], "homepap")
    assert home.subject_id == lab.subject_id == "homepap-1600001" and home.demographics == Demographics(50, "F", 40)
    assert len(lab.scoring) == 1 and home.scoring == () and lab.terms == {}


def test_wsc_has_two_kinds_of_scorings(tmp_path):
    rows = "wsc_id,wsc_vst,age,sex,bmi\n10119,1,50,M,30\n10119,2,55,M,31\n"
    codes = {"W": 0, "N1": 1, "N2": 2, "N3": 4, "REM": 5}
    files = {
        "datasets/wsc-dataset-0.8.0.csv": rows,
        "polysomnography/wsc-visit1-10119-nsrr.edf": None,
        "polysomnography/wsc-visit1-10119-nsrr.allscore.txt": look.allscore(),
        "polysomnography/wsc-visit2-10119-nsrr.edf": None,
        "polysomnography/wsc-visit2-10119-nsrr.stg.txt": look.lines(lambda t, s: f"{t // 30 + 1}\t{codes[s]}\t0"),
    }
    first, second = find_nights([write(tmp_path, files)], "wsc")
    assert (first.subject_id, second.subject_id) == ("wsc-10119", "wsc-10119")
    assert (first.demographics.age_years, second.demographics.age_years) == (50, 55)
    assert read(first) == (EXPECTED, APNEAS) and read(second) == (EXPECTED, [])
    assert first.scored is None and second.scored == {"stages"}
