"""Preparation: nothing is lost silently, runs resume, and bytes do not depend on how they were made."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from scipy.signal import lfilter

from data_pipeline.cohorts import Source, find_nights
from data_pipeline.cohorts.generic import overlooked
from data_pipeline.night import Demographics
from data_pipeline.prepare.journal import JOURNAL, FileSeen
from data_pipeline.prepare.night import OutputError
from data_pipeline.prepare.run import PREPARATION, PrepareConfig, prepare
from data_pipeline.prepare.splits import assign_splits
from data_pipeline.prepare.summary import Rejection, Summary
from data_pipeline.prepare.verify import verify
from data_pipeline.shards.epochs import night_events
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import MANIFEST, read_manifest, write_manifest
from tests.support.loaders import (
    cannot_read_two,
    dies,
    does_not_see,
    empties_the_folder,
    ends_early,
    loses_the_next,
    still_copied,
    stops_at_three,
    stops_for_want_of_space,
)
from tests.support.nights import files, load_random_night, random_night, write_recordings


def prepared(folder, out, **options):
    return prepare([folder], out, load=load_random_night, **options)


def refuses_all(recording, scoring=(), **facts):
    raise AssertionError(f"{recording} was read again")


def test_a_folder_becomes_shards_and_a_manifest(tmp_path):
    summary = prepared(write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == [
        "manifest.jsonl",
        "n1.array_record",
        "n2.array_record",
        "population.json",
        "rejected.jsonl",
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.nights == summary.nights and [n.night_id for n in manifest.nights] == ["n1", "n2"]
    night, entry = random_night(2, 6), manifest.nights[1]
    assert (entry.n_epochs, entry.duration_s, len(entry.channels)) == (6, 187, 17)
    np.testing.assert_array_equal(entry.stage_codes, night.scoring.stages)
    assert sum(entry.stage_counts.values()) == 6
    assert entry.stage_counts["?"] == (night.scoring.stages == -1).sum()
    assert sum(entry.event_counts.values()) == len(night.scoring.events)
    for channel, stored in zip(night.channels, entry.channels, strict=True):
        good = channel.samples.reshape(len(channel.quality), -1)[channel.quality == 0]
        assert stored.median == pytest.approx(np.median(good), abs=1e-6)
        assert stored.iqr == pytest.approx(np.subtract(*np.percentile(good, (75, 25))), rel=1e-5)
        assert stored.good_share == (channel.quality[:180] == 0).mean()
        assert stored.usable_epochs == ((0, 6),)
    shard = tmp_path / "out" / entry.shard
    assert night_events(read_epochs(open_shard(shard, 6), shard, 0, 6)) == night.scoring.events
    assert verify(tmp_path / "out") == verify(tmp_path / "out", workers=2) == []


def test_a_bad_recording_is_listed_and_stops_no_other(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, "bad", "bug", 2])
    summary = prepared(folder, tmp_path / "out")
    assert [n.night_id for n in summary.nights] == ["n1", "n2"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [(line["night_id"], line["file"]) for line in lines] == [
        ("nbad", "nbad.edf"),
        ("nbug", "nbug.edf"),
    ]
    assert lines[0]["reason"] == "nbad.edf: not a recording; expected a seed"  # and not the folder's name
    assert "unexpected LookupError: nobody foresaw this" in lines[1]["reason"]
    table = summary.table()
    assert "accepted  2 nights" in table and "rejected  2 recordings" in table and "nbad.edf: not a" in table


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3, "bad"])
    seen = []
    prepared(folder, tmp_path / "one", progress=lambda done, total, night: seen.append((done, total)))
    prepared(folder, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_worker_that_dies_takes_only_its_own_night(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", workers=2, load=dies)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    assert [(r.night_id, "died" in r.reason) for r in summary.rejected] == [("n2", True)]


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3, 4]), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    assert (out / JOURNAL).is_file() and not (out / MANIFEST).exists()
    (out / "n9.array_record.half").write_bytes(b"half a night")
    (out / "n4.array_record").write_bytes(b"a shard without its manifest")
    (out / "n2.array_record").write_bytes(b"cut")
    summary = prepared(folder, out)
    assert summary.kept == 1
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_a_journal_whose_last_line_is_cut_keeps_the_others(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    journal = (out / JOURNAL).read_bytes()
    (out / JOURNAL).write_bytes(journal[:-30])  # n2's line
    with pytest.raises(KeyboardInterrupt):
        prepare([folder], out, load=stops_at_three)
    assert prepared(folder, out).kept == 2
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_only_what_changed_is_prepared_again(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out"
    prepared(folder, out)
    before = files(out)
    assert prepare([folder], out, load=refuses_all).kept == 2 and files(out) == before
    (folder / "n1.edf").write_text("seed 5")
    write_recordings(folder, [3])
    assert prepared(folder, out).kept == 1 and verify(out) == []
    (folder / "demographics.csv").write_text("night_id,subject_id\nn2,anna\n")
    assert prepared(folder, out).kept == 2 and read_manifest(out).nights[1].subject_id == "anna"
    assert prepared(folder, out, config=PrepareConfig(val_share=0.5)).kept == 0
    (folder / "n1.edf").write_text("seed bad")
    prepared(folder, out, config=PrepareConfig(val_share=0.5))
    assert not (out / "n1.array_record").exists() and verify(out) == []


def test_output_that_cannot_be_written_stops_the_run_and_refuses_nothing(tmp_path):
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    with pytest.raises(
        OutputError, match=r"n\d.array_record: cannot be written on .*: .*File too large.* again"
    ):
        prepare([folder], out, workers=2, load=stops_for_want_of_space)
    assert not (out / "rejected.jsonl").exists()
    prepared(folder, out)
    prepared(folder, tmp_path / "unbroken")
    assert files(out) == files(tmp_path / "unbroken")


def test_a_folder_that_is_removed_in_the_middle_stops_the_run(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(OutputError, match="No such file or directory"):
        prepare([folder], tmp_path / "out", load=empties_the_folder)
    prepared(folder, tmp_path / "out")

    def empty(done, total, night_id):
        (tmp_path / "out" / "n1.array_record").unlink()

    (folder / "n2.edf").write_text("seed 4")
    with pytest.raises(OutputError, match=r"1 shards are gone, such as n1\.array_record"):
        prepared(folder, tmp_path / "out", progress=lambda done, *_: empty(done, *_) if done == 2 else None)


def test_a_source_that_cannot_be_read_is_refused_and_stops_nothing(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    summary = prepare([folder], tmp_path / "out", load=cannot_read_two)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    assert [(r.night_id, r.reason) for r in summary.rejected] == [
        ("n2", "[Errno 5] Input/output error: 'n2.edf'")
    ]


def test_a_source_that_is_gone_is_refused_but_one_that_only_a_worker_misses_stops_the_run(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2])
    with pytest.raises(RuntimeError, match=r"a worker does not see a file that is here, .*n1\.edf"):
        prepare([folder], tmp_path / "out", load=does_not_see)
    assert not (tmp_path / "out" / "rejected.jsonl").exists()
    summary = prepare([folder], tmp_path / "out", load=loses_the_next)
    assert [r.reason for r in summary.rejected] == ["n2.edf: no such file any more"]


def test_ray_that_is_not_installed_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'sleepmami\[ray\]'"):
        prepare([write_recordings(tmp_path / "in", [1])], tmp_path / "out", ray="auto")


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])
    summary = prepare([folder], tmp_path / "out", load=still_copied)
    assert not summary.nights and "changed while it was read" in summary.rejected[0].reason


def test_two_runs_do_not_fill_one_folder(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])

    def second_run(done, total, night_id):
        with pytest.raises(ValueError, match="another run is preparing into this folder"):
            prepared(folder, tmp_path / "out")
        seen.append(night_id)

    seen = []
    prepared(folder, tmp_path / "out", progress=second_run)
    assert seen == ["n1"] and verify(tmp_path / "out") == []


def test_sources_are_read_again_only_when_their_size_or_times_changed_or_on_demand(tmp_path, monkeypatch):
    folder, out = write_recordings(tmp_path / "in", [1, 2]), tmp_path / "out"
    prepared(folder, out)
    before, read = files(out), []
    hash_file = FileSeen.read
    monkeypatch.setattr(FileSeen, "read", lambda path: read.append(path.name) or hash_file(path))

    def again(**options):
        read.clear()
        kept = prepare([folder], out, load=refuses_all, **options).kept
        assert kept == 2 and files(out) == before
        return sorted(read)

    assert again() == []
    assert again(rehash=True) == ["n1.edf", "n2.edf"]
    (folder / "n1.edf").touch()
    assert again() == ["n1.edf"] and again() == []
    (out / "sources.jsonl").unlink()
    assert again() == ["n1.edf", "n2.edf"]
    # Other bytes of the same length with the old date: the inode's own time gives it away.
    old = (folder / "n1.edf").stat()
    (folder / "n1.edf").write_text("seed 5")
    os.utime(folder / "n1.edf", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert prepared(folder, out).kept == 1 and files(out) != before


def test_the_summary_puts_like_refusals_together(tmp_path):
    rejected = [Rejection(f"n{k}", f"n{k}.edf", f"n{k}.edf: {k} bytes in 'EEG {k}'") for k in range(600)]
    rejected += [Rejection(f"m{k}", f"m{k}.edf", "x" * k) for k in range(30)]
    lines = Summary((), 0, tuple(rejected)).table().splitlines()
    assert "rejected  630 recordings" in lines[2] and "  n0.edf and 599 alike: 0 bytes in 'EEG 0'" in lines
    assert lines[-1] == "  and 11 other reasons" and len(lines) < 30


def test_nights_of_another_data_set_are_not_forgotten(tmp_path):
    prepared(write_recordings(tmp_path / "a", [1]), tmp_path / "out")
    with pytest.raises(ValueError, match="holds 1 nights that are not among the inputs, such as n1"):
        prepared(write_recordings(tmp_path / "b", [2]), tmp_path / "out")
    assert verify(tmp_path / "out") == []


def test_two_nights_with_one_id_are_both_named(tmp_path):
    a, b = write_recordings(tmp_path / "a", [1]), write_recordings(tmp_path / "b", [1])
    with pytest.raises(ValueError, match=r"a/n1.edf and .*b/n1.edf would both be night n1"):
        prepare([a, b], tmp_path / "out", load=load_random_night)


def test_splits_follow_the_person_and_stay_when_others_join():
    def night(k, subject, split=None):
        return Source(f"n{k}", subject, "", Path(f"n{k}.edf"), split=split)

    shares = {"val_share": 0.2, "test_share": 0.3}
    nights = [night(k, f"subject{k // 2}") for k in range(2000)]
    splits = assign_splits(nights, **shares)
    assert all(splits[f"n{k}"] == splits[f"n{k + 1}"] for k in range(0, 2000, 2))
    counts = {
        name: sum(split == name for split in splits.values()) / 2000 for name in ("train", "val", "test")
    }
    assert counts == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, abs=0.05)
    fewer = assign_splits(nights[::7], **shares)
    assert all(splits[name] == split for name, split in fewer.items())
    asked = assign_splits([night(1, "x", "test"), night(2, "x"), night(3, "y", "val")], **shares)
    assert asked == {"n1": "test", "n2": "test", "n3": "val"}
    with pytest.raises(ValueError, match="subject x is in split test and in train"):
        assign_splits([night(1, "x", "test"), night(2, "x", "train")], **shares)
    with pytest.raises(ValueError, match="sum <= 1"):
        PrepareConfig(val_share=0.9, test_share=0.2)


def test_verify_names_what_is_wrong(tmp_path):
    out = tmp_path / "out"
    prepared(write_recordings(tmp_path / "in", [1, 2, 3, 4]), out)
    (out / "n1.array_record").unlink()
    content = (out / "n2.array_record").read_bytes()
    (out / "n2.array_record").write_bytes(content[:200_000] + b"\0\1\2\3" + content[200_004:])
    (out / "stray.array_record").write_bytes((out / "n3.array_record").read_bytes())
    os.replace(out / "stray.array_record", out / "n4.array_record")  # another night's shard under this name
    (out / "extra.array_record").write_bytes(b"")
    (out / "n9.array_record.half").write_bytes(b"")
    problems = "\n".join(verify(out))
    for expected in (
        "n1.array_record is missing",
        "n2.array_record is damaged",
        "n4.array_record",
        "extra.array_record is not in the manifest",
        "n9.array_record.half was left",
    ):
        assert expected in problems
    assert "n3.array_record" not in problems
    assert "no such manifest" in verify(tmp_path / "in")[0]


def test_a_note_may_hold_any_character(tmp_path):
    prepared(write_recordings(tmp_path / "in", [1]), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    odd = replace(manifest.nights[0], notes=("a\x85b\u2028c\nd ä",))
    write_manifest(tmp_path / "out" / MANIFEST, replace(manifest, nights=(odd,)))
    assert read_manifest(tmp_path / "out").nights == (odd,)


def test_verify_finds_a_shard_that_is_whole_but_not_the_manifests(tmp_path):
    out = tmp_path / "out"
    prepared(write_recordings(tmp_path / "in", [1]), out)
    (tmp_path / "in" / "n1.edf").write_text("seed 4")  # as long as seed 1, other samples
    prepared(tmp_path / "in", tmp_path / "other")
    (out / "n1.array_record").write_bytes((tmp_path / "other" / "n1.array_record").read_bytes())
    assert any("SHA-256" in problem for problem in verify(out))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace('"n1.array_record"', '"../n1.array_record"'), "not a plain"),
        (lambda t: t.replace('"n1.array_record"', '"/etc/x.array_record"'), "not a plain"),
        (lambda t: t.replace('"n1.array_record"', '"..\\\\\\\\x.array_record"'), "not a plain"),
        (lambda t: t.replace('"night_id":"n1"', '"night_id":"../n1"'), "night id '../n1'"),
        (lambda t: t.replace('"night_id":"n1"', '"night_id":"/tmp/n1"'), "night id '/tmp/n1'"),
        (lambda t: t.replace('"version":1', '"version":7'), "version 7"),
        (lambda t: t.replace("sleepmami-shards", "sheep"), "not a manifest"),
        (lambda t: t[:-40], "line 2: damaged"),
        (lambda t: t.replace('"n_epochs":5', '"n_epochs":6'), "5 stages for n_epochs 6"),
        (lambda t: t.replace('"split":"', '"split":"x'), "split 'x"),
        (lambda t: t.replace('"night_id":', '"nightid":'), "line 2: damaged or made by other code"),
        (lambda t: t + t.splitlines()[1] + "\n", "n1 is there 2 times"),
        (lambda t: "", "line 1: damaged"),
    ],
)
def test_a_hostile_or_damaged_manifest_is_refused(tmp_path, change, message):
    prepared(write_recordings(tmp_path / "in", [1]), tmp_path)
    path = tmp_path / MANIFEST
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


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
        "night_id,subject_id,site,age_years,sex,bmi,split\n"
        "a night,p1,x,41.5,F,,test\nb,p1,x,,M,22,\nabsent,,,,,,\n"
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "training"}, "split 'training'; expected one of"),
        ({"scored": ("arousals",)}, "scored .'arousals'.; expected 'stages' or"),
        ({"dialect": "foo"}, "dialect 'foo'; expected one of .*edfplus"),
        ({"recording": "n.edf"}, "expected a Path as recording"),
        ({"scoring": [Path("n.csv")]}, "a tuple of Paths as scoring"),
        ({"subject_id": None}, "subject_id: expected text, found a NoneType"),
    ],
)
def test_an_adapters_slip_is_told_at_once(wrong, message):
    with pytest.raises(
        ValueError, match=f"Source of night 'n': {'.*' if 'Path' in message else ''}{message}"
    ):
        Source(**({"night_id": "n", "subject_id": "p", "site": "", "recording": Path("n.edf")} | wrong))


@pytest.mark.parametrize(
    "wrong", [{"sex": "female"}, {"age_years": "45"}, {"age_years": -5.0}, {"bmi": 0.0025}, {"bmi": 2250}]
)
def test_demographics_in_other_units_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"Demographics.{name}: expected"):
        Demographics(**wrong)


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


def test_inputs_without_recordings_and_unknown_cohorts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no recording found"):
        find_nights([tmp_path])
    with pytest.raises(ValueError, match="no such file"):
        find_nights([tmp_path / "x"])
    with pytest.raises(ValueError, match=r"no cohort 'shs'; expected one of .*generic"):
        find_nights([tmp_path], "shs")


@pytest.mark.skipif(
    "SLEEPMAMI_REAL_DATA" not in os.environ, reason="SLEEPMAMI_REAL_DATA names no folder of recordings"
)
def test_real_recordings_are_prepared_or_refused_with_a_reason(tmp_path):
    summary = prepare([Path(os.environ["SLEEPMAMI_REAL_DATA"]) / "dreams_spindles"], tmp_path)
    assert {"excerpt1", "excerpt2", "excerpt3", "excerpt4"} <= {night.night_id for night in summary.nights}
    assert all(night.n_epochs == 60 for night in summary.nights if night.night_id != "excerpt3_full")
    assert all(rejection.reason for rejection in summary.rejected)
    assert verify(tmp_path) == []


def test_shards_of_other_settings_are_never_taken_for_these(tmp_path):
    """Sizes are rounded, so two shards of one night under two settings may well be equally long."""
    folder, out = write_recordings(tmp_path / "in", [1, 2, 3]), tmp_path / "out"
    prepared(folder, out)
    before = files(out)
    with pytest.raises(KeyboardInterrupt):  # after the first two
        prepare([folder], out, load=stops_at_three, config=PrepareConfig(test_share=0.2))
    again = prepared(folder, out)
    assert again.kept == 0 and files(out) == before and verify(out) == []


def test_a_scoring_that_no_recording_took_is_named(tmp_path):
    folder = write_recordings(tmp_path / "in", [1])
    (folder / "hypnogram.csv").write_text("onset_s,duration_s,stage\n")
    summary = prepared(folder, tmp_path / "out")
    assert summary.overlooked == ("hypnogram.csv",)
    assert "not used  hypnogram.csv: by their names" in summary.table()


def test_a_recording_that_ends_early_is_refused_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipeline.night.BLOCK_S", 60)
    summary = prepare([write_recordings(tmp_path / "in", [1, 2, 3])], tmp_path / "out", load=ends_early)
    assert [n.night_id for n in summary.nights] == ["n1", "n3"]
    (rejection,) = summary.rejected
    assert rejection.reason == "n2.edf: cannot be read any further: bus error"


def test_what_preparation_makes_of_a_recording_is_what_its_number_says(tmp_path):
    """When this fails because samples, flags or labels changed on purpose, raise `PREPARATION` and note them here."""
    t = np.arange(128 * 150) / 128
    noise = np.random.default_rng(0).normal(0, 9, (2, len(t)))
    eeg, mastoid = lfilter([1], [1, -0.9], noise) + 40 * np.sin(2 * np.pi * 50 * t)
    eeg[128 * 60 : 128 * 63] = 300
    signals = [
        edfio.EdfSignal(x, 128, label=label, physical_dimension="uV", physical_range=(-300, 300))
        for label, x in (("C3", eeg), ("M2", mastoid))
    ]
    (tmp_path / "in").mkdir()
    edfio.Edf(signals).write(tmp_path / "in" / "n.edf")
    prepare([tmp_path / "in"], tmp_path / "out")
    (entry,) = read_manifest(tmp_path / "out").nights
    (channel,) = entry.channels
    assert (PREPARATION, channel.slot, channel.label) == (1, "C3", "C3 - M2")
    assert (channel.median, channel.iqr) == pytest.approx((-0.394, 37.096), abs=0.02)
    assert channel.good_share == 0.98
