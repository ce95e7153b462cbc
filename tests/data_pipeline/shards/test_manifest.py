"""The manifest: read as written, or refused."""

import re
from dataclasses import replace

import pytest

from data_pipeline.shards.manifest import MANIFEST, read_manifest, write_manifest
from tests.support.nights import write_recordings
from tests.support.preparing import prepared


def test_a_note_may_hold_any_character(tmp_path):
    prepared(write_recordings(tmp_path / "in", [1]), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    odd = replace(manifest.nights[0], notes=("a\x85b\u2028c\nd ä",))
    write_manifest(tmp_path / "out" / MANIFEST, replace(manifest, nights=(odd,)))
    assert read_manifest(tmp_path / "out").nights == (odd,)


def test_lights_are_written_only_where_they_are_known(tmp_path):
    prepared(write_recordings(tmp_path / "in", [1]), tmp_path)
    manifest = read_manifest(tmp_path)
    before = (tmp_path / MANIFEST).read_text()
    assert manifest.nights[0].lights_s == (None, None) and "lights" not in before
    lit = replace(manifest.nights[0], lights_s=(60.0, None))
    write_manifest(tmp_path / MANIFEST, replace(manifest, nights=(lit,)))
    assert '"lights_s":[60.0,null]' in (tmp_path / MANIFEST).read_text() and read_manifest(tmp_path).nights == (lit,)


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
        (lambda t: re.sub(r'"iqr":[^,]+', '"iqr":1e-300', t, count=1), "iqr is no spread"),
        (lambda t: re.sub(r'"iqr":[^,]+', '"iqr":Infinity', t, count=1), "not finite|line 2"),
        (lambda t: re.sub(r'"median":[^,]+', '"median":"y"', t, count=1), "line 2: damaged"),
        (lambda t: re.sub(r'"median":[^,]+', '"median":1e30', t, count=1), "median lies far outside"),
        (lambda t: re.sub(r'"slot":"[^"]+', '"slot":"XX', t, count=1), "'XX' is none, of another kind"),
        (lambda t: re.sub(r'"slot":"[^"]+', '"slot":"SPO2', t, count=1), "of another kind"),
        (lambda t: re.sub(r'"usable_epochs":\[.*?\]\]', '"usable_epochs":[[3,99]]', t, count=1), "no runs of epochs"),
        (lambda t: re.sub(r'"good_share":[^,]+', '"good_share":-1', t, count=1), "good_share outside"),
        (lambda t: t.replace('"duration_s":', '"duration_s":9'), "n_epochs, duration_s"),
        (lambda t: t.replace('"subject_id":"', '"subject_id":"x'), "not those that were written"),
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


def test_a_manifest_of_before_its_checksum_is_read(tmp_path):
    prepared(write_recordings(tmp_path / "in", [1]), tmp_path)
    manifest, path = read_manifest(tmp_path), tmp_path / MANIFEST
    older = re.sub(r',"nights_sha256":"[0-9a-f]{64}"', "", path.read_text())
    assert older != path.read_text()
    path.write_text(older)
    assert read_manifest(tmp_path) == manifest
