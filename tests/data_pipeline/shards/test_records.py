"""The shard codec: what goes in comes out, and damage is named."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import Channel, Event, EventKind, Quality, Scoring, blocks
from data_pipeline.shards.epochs import night_epochs, night_events
from data_pipeline.shards.files import open_shard, read_epochs, write_shard
from data_pipeline.shards.records import decode_epoch, encode_epoch
from data_pipeline.shards.scale import Meter, channel_scale
from tests.support.nights import SCORED, random_night


def roundtrip(night):
    return [decode_epoch(encode_epoch(epoch)) for epoch in night_epochs(night)]


def channel_of(samples, quality=None):
    quality = np.zeros(len(samples) // 128, np.uint8) if quality is None else quality
    return Channel("C3", Modality.EEG, np.asarray(samples, np.float32), quality, "C3", "", 128.0)


def test_samples_quality_stage_and_events_come_back():
    night = random_night(1, 5)
    epochs = roundtrip(night)
    assert [epoch.index for epoch in epochs] == list(range(5)) == [e.index for e in epochs]
    assert [epoch.stage for epoch in epochs] == night.scoring.stages.tolist()
    assert all(epoch.scored == SCORED and epoch.night_id == "night1" for epoch in epochs)
    channels = {channel.slot: channel for channel in night.channels}
    assert [slot for s in epochs[0].signals for slot in s.slots] == [
        slot for names in SLOTS.values() for slot in names
    ]
    for epoch in epochs:
        for stored in epoch.signals:
            for row, slot in enumerate(stored.slots):
                whole = channels[slot]
                part = slice(epoch.index * 30 * whole.rate_hz, (epoch.index + 1) * 30 * whole.rate_hz)
                error = np.abs(stored.physical()[row] - whole.samples[part])
                float32_rounding = 2e-7 * np.abs(whole.samples).max()
                assert error.max() <= stored.scale[row] / 2 + float32_rounding
                seconds = whole.quality[epoch.index * 30 : epoch.index * 30 + 30]
                np.testing.assert_array_equal(stored.quality[row], seconds)
    assert night_events(epochs) == night.scoring.events


def test_the_step_is_small_against_the_signal_even_with_a_huge_artefact():
    samples = np.random.default_rng(0).standard_normal(128 * 120) * 20
    samples[5000] = 1e6
    scale = channel_scale(channel_of(samples))
    assert scale.scale < 0.02 and scale.clipped_samples == 1
    assert scale.median == pytest.approx(0, abs=1) and scale.iqr == pytest.approx(27, abs=1)
    assert channel_scale(channel_of(np.delete(samples, 5000).repeat(1)[: 128 * 119])).clipped_samples == 0


def test_one_desaturation_in_a_steady_night_is_stored():
    samples = np.resize(np.float32([96, 97]), 3 * 3600)
    samples[5555:5570] = 81.5  # where the survey does not look
    night = random_night(1, 360, ["SPO2"], tail_s=0, scored=False)
    night = replace(night, channels=(replace(night.channels[0], samples=samples),))
    stored = np.concatenate([epoch.signals[0].physical()[0] for epoch in roundtrip(night)])
    np.testing.assert_allclose(stored, samples, atol=0.002)


def test_blocks_of_a_night_give_the_records_of_the_whole(monkeypatch):
    monkeypatch.setattr("data_pipeline.shards.scale._PERCENTILE_SAMPLES", 22_000)  # every 7th, across blocks
    night = random_night(7, 60)
    pieces = [night.read(*span) for span in blocks(night.duration_s)]
    assert len(pieces) == 3
    whole = [encode_epoch(epoch) for epoch in night_epochs(night)]
    assert [encode_epoch(epoch) for epoch in night_epochs(night, pieces=pieces)] == whole
    c3 = next(c for c in night.channels if c.slot == "C3")
    expected = channel_scale(c3)
    meter = Meter(night.duration_s, expected.scale, expected.offset)
    for piece in pieces:
        meter.add(next(c for c in piece if c.slot == "C3"))
    assert meter.scale() == expected
    np.testing.assert_array_equal(meter.quality, c3.quality)


def test_gaps_are_zero_and_flagged_and_do_not_touch_the_scale():
    night = random_night(2, 2, ["C3"])
    samples, quality = night.channels[0].samples.copy(), np.zeros_like(night.channels[0].quality)
    plain = channel_scale(replace(night.channels[0], quality=np.where(np.arange(len(quality)) == 3, 1, 0)))
    samples[3 * 128 + 5 : 4 * 128] = np.nan
    channel = replace(night.channels[0], samples=samples, quality=quality)
    assert channel_scale(channel) == plain
    first = roundtrip(replace(night, channels=(channel,)))[0].signals[0]
    assert first.quality[0, 3] == Quality.GAP and first.quality[0].sum() == Quality.GAP
    assert not first.samples[0, 3 * 128 + 5 : 4 * 128].any() and first.samples[0, 3 * 128 : 3 * 128 + 5].any()


def test_a_channel_without_any_sample_or_movement_is_stored():
    dead = channel_scale(channel_of(np.full(128 * 60, np.nan)))
    assert dead.median is None and (dead.scale, dead.offset) == (1.0, 0.0)
    flat = channel_scale(channel_of(np.full(128 * 60, 7.5)))
    assert flat.iqr == 0 and flat.offset == 7.5 and flat.clipped_samples == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-40_000, 140_000), st.integers(0, 90_000)), max_size=6))
def test_every_event_belongs_to_exactly_one_epoch(marks):
    events = (Event(EventKind.APNEA, onset_ms / 1000, length_ms / 1000) for onset_ms, length_ms in marks)
    events = tuple(sorted(events, key=lambda e: e.onset_s))
    night = random_night(3, 3, ["SPO2"])
    epochs = roundtrip(replace(night, scoring=Scoring(np.zeros(3, np.int8), events, frozenset({"apnea"}))))
    back = night_events(epochs)
    assert len(back) == len(events)
    np.testing.assert_allclose([e.onset_s for e in back], [e.onset_s for e in events], atol=1e-9)
    for epoch in epochs:  # and is seen by every epoch that it touches
        start = epoch.index * 30
        touching = sum(e.onset_s < start + 30 and e.end_s > start for e in events)
        assert sum(e.onset_s < 30 and e.end_s > 0 for e in epoch.events) == touching


def test_an_event_on_the_border_begins_in_the_second_epoch():
    event = Event(EventKind.AROUSAL, 30.0, 5.0)
    night = random_night(3, 2, ["SPO2"])
    first, second = roundtrip(replace(night, scoring=Scoring(np.zeros(2, np.int8), (event,))))
    assert first.events == () and second.events == (replace(event, onset_s=0.0),)


def test_wrong_number_of_stages_is_refused():
    night = random_night(3, 2, ["SPO2"])
    with pytest.raises(ValueError, match="night3: 5 stages for 2 whole epochs"):
        list(night_epochs(replace(night, scoring=Scoring(np.zeros(5, np.int8)))))


def test_the_same_epoch_gives_the_same_bytes():
    first = [encode_epoch(e) for e in night_epochs(random_night(4, 2))]
    assert first == [encode_epoch(e) for e in night_epochs(random_night(4, 2))]
    assert first == [encode_epoch(decode_epoch(record)) for record in first]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: b"", "not an epoch record: 0 bytes"),
        (lambda r: b"XXXX" + r[4:], "not an epoch record"),
        (lambda r: r[:4] + b"\x63\x00" + r[6:], "version 99"),
        (lambda r: r[:-1], "checksum"),
        (lambda r: r[:500] + bytes([r[500] ^ 1]) + r[501:], "checksum"),
        (lambda r: r[:5000] + bytes([r[5000] ^ 128]) + r[5001:], "checksum"),
    ],
)
def test_damage_is_named(damage, message):
    record = encode_epoch(next(night_epochs(random_night(5, 1))))
    with pytest.raises(ValueError, match=message):
        decode_epoch(damage(record))


def test_a_well_signed_record_that_makes_no_sense_is_refused():
    epoch = next(night_epochs(random_night(5, 1, ["C3", "SPO2"])))
    wrong = replace(epoch, signals=(replace(epoch.signals[0], slots=("THORAX",)),))
    with pytest.raises(ValueError, match=r"EEG \('THORAX',\).*expected"):
        decode_epoch(encode_epoch(wrong))
    with pytest.raises(ValueError, match="stage 9"):
        decode_epoch(encode_epoch(replace(epoch, stage=9)))
    junk = encode_epoch(epoch)
    frame = junk.index(b"\x28\xb5\x2f\xfd")  # where Zstandard's frame begins
    for place in (frame, frame + 20):
        broken = junk[:place] + b"\0" * 8 + junk[place + 8 :]
        signed = broken[:18] + zlib.crc32(broken[22:]).to_bytes(4, "little") + broken[22:]
        with pytest.raises(ValueError, match="damaged epoch record"):
            decode_epoch(signed)
    short = replace(epoch.signals[0], samples=epoch.signals[0].samples[:, :-128])
    with pytest.raises(ValueError, match="samples that its channel table asks for"):
        decode_epoch(encode_epoch(replace(epoch, signals=(short,))))


def test_a_shard_reads_back_in_any_order_and_says_when_it_is_damaged(tmp_path):
    path = tmp_path / "n.array_record"
    records = [encode_epoch(epoch) for epoch in night_epochs(random_night(6, 4))]
    checksum = write_shard(path, records)
    assert checksum == write_shard(tmp_path / "again.array_record", records)
    assert path.read_bytes() == (tmp_path / "again.array_record").read_bytes()
    assert not list(tmp_path.glob("*.half"))
    reader = open_shard(path, 4)
    assert [read_epochs(reader, path, i, i + 1)[0].index for i in (2, 0, 3)] == [2, 0, 3]
    with pytest.raises(ValueError, match="4 records, expected 5"):
        open_shard(path, 5)
    whole = path.read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "empty": b"", "junk": b"hello" * 50000}.items():
        broken = tmp_path / f"{name}.array_record"
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.array_record is damaged"):
            open_shard(broken, 4)
    flipped = tmp_path / "flipped.array_record"
    middle = whole.index(records[2][-5000:-4900])
    flipped.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    reader = open_shard(flipped, 4)
    assert read_epochs(reader, flipped, 0, 2)[1].index == 1
    with pytest.raises(ValueError, match=r"flipped\.array_record, epoch 2"):
        read_epochs(reader, flipped, 0, 4)
    with pytest.raises(ValueError, match=r"absent\.array_record is missing"):
        open_shard(tmp_path / "absent.array_record", 4)
