"""Rows of a pack: what they hold, and what becomes of those that are damaged."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.night import Event, EventKind, Quality
from data_pipeline.shards.epochs import night_epochs
from data_pipeline.shards.manifest import Manifest, NightEntry, channel_entry
from data_pipeline.shards.pack import (
    EVENTS,
    HEADER_BYTES,
    MARKS,
    PACK,
    ROWS,
    Layout,
    Pack,
    check_scale,
    events_in,
    row_header,
)
from data_pipeline.shards.scale import channel_scale
from tests.support.nights import random_night


def entry_of(night) -> NightEntry:
    channels = tuple(channel_entry(c, channel_scale(c)) for c in night.channels)
    ranges = {c.slot: (c.scale, c.offset) for c in channels}
    epochs = [*night_epochs(night, ranges)]
    known = dict.fromkeys(NightEntry.__dataclass_fields__) | {"night_id": night.night_id, "n_epochs": night.n_epochs}
    return NightEntry(**known | {"channels": channels}), epochs


@pytest.fixture(scope="module")
def two():
    """Two nights of other channels: entries, and their epochs."""
    nights = [random_night(1, 3, ["C3", "SPO2"], night_id="a"), random_night(2, 2, ["C4", "THORAX"], night_id="b")]
    return [entry_of(night) for night in nights]


@pytest.fixture
def pack(two, tmp_path):
    manifest = Manifest({}, "", tuple(entry for entry, _ in two))
    return Pack.open(tmp_path, Layout.of(manifest, "ab" * 32))


def fill(pack, two):
    for first, (entry, epochs) in zip((0, 3), two, strict=True):
        for epoch in epochs:
            assert pack.write(first + epoch.index, epoch, entry)


def test_a_row_is_its_record(pack, two):
    assert pack.layout.slots == ("C3", "C4", "THORAX", "SPO2") and pack.layout.rows == 5
    assert pack.missing(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    fill(pack, two)
    assert pack.missing(np.array([4, 0])).size == 0
    block, at = pack.block(np.array([4]))
    epoch, layout = two[1][1][1], pack.layout
    row = block[at[0]]
    c4, thorax = epoch.signals
    np.testing.assert_array_equal(row[layout.samples["C4"]].view("<i2"), c4.samples[0])
    np.testing.assert_array_equal(row[layout.samples["THORAX"]].view("<i2"), thorax.samples[0])
    quality = row[layout.quality].reshape(4, 30)
    np.testing.assert_array_equal(quality[1:3], [c4.quality[0], thorax.quality[0]])
    assert (quality[[0, 3]] == Quality.GAP).all() and not row[layout.samples["C3"]].any()
    assert row_header(layout, row) == (epoch.index, epoch.stage, epoch.events)


def test_it_is_there_for_the_next_run_and_for_another_process(pack, two):
    fill(pack, two)
    for again in (Pack.open(pack.folder.parent, pack.layout), pickle.loads(pickle.dumps(pack))):
        assert again.missing(np.arange(5)).size == 0


def test_a_damaged_row_counts_as_missing(pack, two):
    fill(pack, two)
    with (pack.folder / ROWS).open("r+b") as file:
        file.seek(2 * pack.layout.row_bytes + 77)
        file.write(b"\x5a\xa5")
    assert Pack.open(pack.folder.parent, pack.layout).missing(np.arange(5)).tolist() == [2]


def test_an_epoch_of_too_many_events_is_left_to_its_shard(pack, two):
    entry, (epoch, *_) = two[0]
    events = tuple(Event(EventKind.SPINDLE, float(i), 0.5, "sp") for i in range(HEADER_BYTES // 20))
    assert not pack.write(0, replace(epoch, events=events), entry)
    assert 0 in pack.missing(np.arange(5))


def test_events_are_known_of_whole_nights_only(pack, two):
    entry, _ = two[0]
    events = (Event(EventKind.AROUSAL, 3.25, 4.0, "EEG arousal"), Event("own_kind", 40.0, 1.5))
    pack.complete(entry, events)
    with (pack.folder / EVENTS).open("ab") as file:
        file.write(b"0badc0de b []\nff")  # what a killed process and a bad disk leave
    found = Pack.open(pack.folder.parent, pack.layout).events
    assert {night: events_in(text) for night, text in found.items()} == {"a": events}


def test_a_record_that_is_scaled_otherwise_is_refused(two):
    entry, (epoch, *_) = two[0]
    other = replace(epoch, signals=(replace(epoch.signals[0], scale=epoch.signals[0].scale * 2), *epoch.signals[1:]))
    with pytest.raises(ValueError, match="night a, channel C3: its record is scaled by"):
        check_scale(other, entry)


def test_what_is_not_this_pack_is_refused(pack):
    stated = json.loads((pack.folder / PACK).read_text())
    for text, words in ((json.dumps(stated | {"rows": 6}), "other nights"), ("{", "damaged")):
        (pack.folder / PACK).write_text(text)
        with pytest.raises(ValueError, match=words):
            Pack.open(pack.folder.parent, pack.layout)
    (pack.folder / PACK).write_text(json.dumps(stated))
    os.truncate(pack.folder / MARKS, 8)
    with pytest.raises(ValueError, match=r"marks.bin: 8 bytes, expected 40; remove"):
        Pack.open(pack.folder.parent, pack.layout)
