"""What names a person or a device in a recording or its scoring is in nothing that preparation makes or says."""

import datetime
import re
import warnings

import edfio
import numpy as np
import pytest

from data_pipeline.diagnose.diagnosis import diagnose
from data_pipeline.population.file import read_population
from data_pipeline.prepare.run import prepare

SECRETS = ("Doe", "Jane", "MRN4711", "1951", "AUG", "SN998877", "Smith", "Ward 12", "555-0199")


def write_identified(path, *, bdf=False, cut=None):
    """A night whose header and annotations are full of names."""
    rng = np.random.default_rng(0)
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    signals = [
        kind(
            rng.normal(0, 20, 60 * 100),
            100,
            label=label,
            physical_dimension="uV",
            physical_range=(-400, 400),
            transducer_type="AgCl SN998877 of Dr Smith",
            prefiltering="Doe's own, SN998877",
        )
        for label in ("C4-M1", "Chin", "X9", "E2 (Doe)", "Thorax Jane", "Nonin SN998877", "Doe Jane")
    ]
    marks = [
        edfio.EdfAnnotation(0, 30, "Sleep stage N2"),
        edfio.EdfAnnotation(3, 4, "Arousal|Jane Doe"),
        edfio.EdfAnnotation(9, 4, "Arousal@@Smith"),
        edfio.EdfAnnotation(10, None, "Mrs Doe, born 2 AUG 1951, wakes"),
        edfio.EdfAnnotation(20, None, "Dr Smith called, 555-0199"),
        edfio.EdfAnnotation(21, None, "Dr Smith called, 555-0199"),
        edfio.EdfAnnotation(40, 10, "hypopnea says Jane"),
    ]
    (edfio.Bdf if bdf else edfio.Edf)(
        signals,
        patient=edfio.Patient(
            code="MRN4711", name="Doe_Jane", birthdate=datetime.date(1951, 8, 2), additional=["Ward_12"]
        ),
        recording=edfio.Recording(
            startdate=datetime.date(2020, 8, 3),
            hospital_administration_code="MRN4711",
            investigator_technician_code="Smith",
            equipment_code="SN998877",
        ),
        annotations=marks,
        data_record_duration=10,
    ).write(path)
    if cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def said_in(secret: str, content: bytes) -> bool:
    """Whether it stands there; a year not inside a longer number or a digest, which hold one by chance."""
    pattern = re.escape(secret.lower().encode())
    if secret.isdigit():
        pattern = rb"(?<![0-9a-f])%b(?![0-9a-f])" % pattern
    return re.search(pattern, content.lower()) is not None


def test_no_identifier_is_in_any_byte_that_is_made_or_said(tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    whole = write_identified(folder / "a.edf")
    write_identified(folder / "b.bdf", bdf=True)
    (folder / "b.csv").write_text(
        "onset_s,duration_s,type,remark\n0,30,N2,Jane Doe asleep\n3,4,Mrs Doe moves,Smith\n5,4,Arousal,555-0199\n"
    )
    refused = [
        write_identified(folder / f"cut{cut}.edf", cut=cut) for cut in (100, 700, 1100, 2304, 3000)
    ]  # 2304: the header alone
    damaged = write_identified(folder / "damaged.edf")
    damaged.write_bytes(damaged.read_bytes().replace(b"-400    ", b"Smith   "))
    slipped = write_identified(folder / "slipped.edf")
    header = slipped.read_bytes()
    blanks = b" " * (252 - header.index(b"Doe_Jane"))  # the name comes to where the number of signals is sought
    slipped.write_bytes(header[:8] + blanks + header[8:])
    for name, table in {
        "unknown": "onset_s,duration_s,type\n0,30,Jane Doe\n",
        "headless": "0,30,Jane Doe\n30,30,N2\n",
        "moved": "onset_s,duration_s,type\nJane Doe,30,N2\n",
    }.items():
        (folder / f"{name}.csv").write_text(table)
        write_identified(folder / f"{name}.edf")
    assert b"Doe_Jane" in whole.read_bytes() and b"02-AUG-1951" in whole.read_bytes()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        summary = prepare([folder], tmp_path / "out")
        reports = [diagnose(path) for path in (whole, *refused, damaged, slipped)]
    with pytest.raises(ValueError, match="no population card is in it") as refusal:
        read_population(whole)
    assert len(summary.nights) == 2 and len(summary.rejected) == 10
    texts = [str(refusal.value), summary.table(), *capfd.readouterr(), *(str(w.message) for w in said)]
    texts += [f"{report.to_text()} {report.to_dict()}" for report in reports]
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(made) >= {
        "manifest.jsonl",
        "rejected.jsonl",
        "sources.jsonl",
        "a.array_record",
        "b.array_record",
    }
    made["what was said"] = "\n".join(texts).encode()
    for name, content in made.items():
        assert not [secret for secret in SECRETS if said_in(secret, content)], name


def test_the_journal_of_a_run_that_stops_holds_no_identifier(tmp_path):
    write_identified(tmp_path / "a.edf")

    def stop(done, total, night_id):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([tmp_path / "a.edf"], tmp_path / "out", progress=stop)
    journal = (tmp_path / "out" / "manifest.partial.jsonl").read_text()
    assert '"night_id":"a"' in journal and not any(secret in journal for secret in SECRETS)
