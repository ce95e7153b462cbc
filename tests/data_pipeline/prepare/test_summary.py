"""What a run did, for a person to read."""

from dataclasses import replace

from data_pipeline.prepare.summary import Refusal, Rejection, Summary
from tests.support.nights import write_recordings
from tests.support.preparing import prepared


def test_the_summary_puts_like_refusals_together(tmp_path):
    empty = [Rejection(f"n{k}", f"n{k}.edf", Refusal.RECORDING, f"n{k}.edf", "the file is empty") for k in range(600)]
    cut = [Rejection(f"m{k}", f"m{k}.edf", Refusal.RECORDING, f"m{k}.edf", f"cut after {k} s") for k in range(30)]
    unscored = [Rejection("s", "s.edf", Refusal.SCORING, "s.csv", "no stage")]
    lines = Summary((), 0, (*cut, *empty, *unscored)).table().splitlines()
    assert "rejected  631 recordings" in lines[3]
    assert lines[4:] == [
        "  recording: 630",
        "    n0.edf and 599 alike: the file is empty",
        *(f"    m{k}.edf: cut after {k} s" for k in range(4)),
        "    and 26 other reasons",
        "  scoring: 1",
        "    s.edf: no stage",
    ]


def test_a_refusal_names_the_file_at_fault_and_no_folder():
    scoring = Rejection("s", "s.edf", Refusal.SCORING, "s.csv", "no stage")
    assert scoring.to_json() == {
        "night_id": "s",
        "file": "s.edf",
        "kind": "scoring",
        "reason": "s.csv: no stage",
    }
    died = Rejection("s", "s.edf", Refusal.PROCESS_DIED, "", "the process died")
    assert died.reason == "the process died"


def test_a_scoring_that_no_recording_took_is_named(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])
    (folder / "hypnogram.csv").write_text("onset_s,duration_s,stage\n")
    summary = prepared(folder, tmp_path / "out")
    assert summary.overlooked == ("hypnogram.csv",)
    assert "not used  1 files: hypnogram.csv" in summary.table() and summary.complaints == 2  # and a note


def test_notes_that_differ_in_numbers_only_are_one_line(tmp_path):
    nights = prepared(write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out").nights
    notes = [
        ("n1.csv: 3 of 90 epochs have no known stage.", "'Snore' is not used: sound.", "C3, O2: 50 Hz mains removed"),
        ("n2.csv: 41 of 80 epochs have no known stage.", "'Snore' is not used: sound."),
        ("The file is cut: 3 of 4 data records are there.", "'Light' is not used: light."),
    ]
    noted = tuple(replace(night, notes=said) for night, said in zip(nights, notes, strict=True))
    summary = Summary(noted, 0, ())
    lines = summary.table().splitlines()
    assert lines[lines.index("notes     of each night are in manifest.jsonl, under notes") :] == [
        "notes     of each night are in manifest.jsonl, under notes",
        "    2 nights, such as n1: n1.csv: 3 of 90 epochs have no known stage.",
        "    n3: The file is cut: 3 of 4 data records are there.",
        "channels  of each night are in manifest.jsonl, under notes",
        "    2 nights, such as n1: 'Snore' is not used: sound.",
        "    n1: C3, O2: 50 Hz mains removed",
        "    n3: 'Light' is not used: light.",
    ]
    assert summary.complaints == 3  # what is said of channels is said of every recording


def test_of_many_files_that_are_not_used_each_kind_is_counted():
    names = (*(f"n{k}.xyz" for k in range(20)), *(f"m{k}.pdf" for k in range(7)), "readme")
    assert "not used  28 files: n0.xyz, " in (table := Summary((), 0, (), names).table())
    assert "n19.xyz and 8 more (7 .pdf, 1 no suffix) (docs/data.md, Any folder)" in table
