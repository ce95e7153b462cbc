"""The bytes of a record: what goes in comes out, and damage is named."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.modalities import SLOTS
from data_pipeline.shards.epochs import night_epochs, night_events
from data_pipeline.shards.records import decode_epoch, decode_scoring, encode_epoch
from tests.support.nights import SCORED, random_night


def roundtrip(night):
    return [decode_epoch(encode_epoch(epoch)) for epoch in night_epochs(night)]


def test_samples_quality_stage_and_events_come_back():
    night = random_night(1, 5)
    epochs = roundtrip(night)
    assert [epoch.index for epoch in epochs] == list(range(5)) == [e.index for e in epochs]
    assert [epoch.stage for epoch in epochs] == night.scoring.stages.tolist()
    assert all(epoch.scored == SCORED and epoch.night_id == "night1" for epoch in epochs)
    channels = {channel.slot: channel for channel in night.channels}
    assert [slot for s in epochs[0].signals for slot in s.slots] == [slot for names in SLOTS.values() for slot in names]
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


def test_the_same_epoch_gives_the_same_bytes():
    first = [encode_epoch(e) for e in night_epochs(random_night(4, 2))]
    assert first == [encode_epoch(e) for e in night_epochs(random_night(4, 2))]
    assert first == [encode_epoch(decode_epoch(record)) for record in first]


def test_what_was_scored_can_be_read_without_the_signals():
    for record in map(encode_epoch, night_epochs(random_night(3, 4))):
        assert vars(decode_scoring(record)) == vars(decode_epoch(record)) | {"signals": ()}
        assert vars(decode_scoring(record[:5000])) == vars(decode_scoring(record))  # not looked at
        with pytest.raises(ValueError, match="its header makes no sense"):
            decode_scoring(record[:30] + b"\xff" + record[31:])
        with pytest.raises(ValueError, match="version 99"):
            decode_scoring(record[:4] + b"\x63\x00" + record[6:])


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
