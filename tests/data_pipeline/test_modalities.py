"""One record a modality: what follows from it, and side channels from the label to the shard and back."""

from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.diagnose.diagnosis import diagnose
from data_pipeline.load import load_night
from data_pipeline.modalities import MODALITIES, MODALITY_OF, RATE_HZ, SLOTS, Modality
from data_pipeline.montage.file import MontageRules, read_montage
from data_pipeline.night import EPOCH_S, Quality, RecordingError
from data_pipeline.prepare.run import prepare
from data_pipeline.shards.files import open_shard, read_epochs
from data_pipeline.shards.manifest import read_manifest

SECONDS = 90
SIDE = (Modality.PPG, Modality.SNORE, Modality.POSITION)
CODES = np.repeat([2, 7, 1, 255, 0, 1], 15)


def edf(path: Path, *labels: str) -> Path:
    rng = np.random.default_rng(0)
    signals = []
    for label in labels:
        if label == "Body Position":
            x, rate_hz, digital = CODES, 1, (0, 255)
        else:
            x, rate_hz, digital = rng.integers(500, 3500, 200 * SECONDS), 200, (0, 4095)
        signals.append(
            edfio.EdfSignal.from_digital(
                x.astype(np.int16),
                rate_hz,
                label=label,
                physical_dimension="uV" if "-" in label else "",
                physical_range=(0, digital[1]) if digital[1] == 255 else (-400, 400),
                digital_range=digital,
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals).write(path)
    return path


def records(folder: Path):
    (night,) = read_manifest(folder).nights
    path = folder / night.shard
    return night, read_epochs(open_shard(path, night.n_epochs), path, night.night_id, 0, night.n_epochs)


def test_every_modality_has_a_record_that_fits_an_epoch():
    assert list(MODALITIES) == list(Modality) and list(SLOTS) == [m for m in Modality if m not in SIDE]
    assert len(MODALITY_OF) == sum(len(facts.slots) for facts in MODALITIES.values())  # no slot twice
    for modality, facts in MODALITIES.items():
        assert modality.facts is facts and RATE_HZ[modality] == facts.rate_hz
        assert facts.is_side or (EPOCH_S % facts.token_s == 0 and facts.missing)
        assert facts.is_value or facts.margin_s * facts.high_pass_hz > 2.3
        assert facts.unit == "uV" if facts.voltage else facts.unit in ("", "%")


def test_what_nobody_asked_for_changes_no_byte(tmp_path):
    edf(tmp_path / "plain" / "n.edf", "C3-M2", "Thorax")
    edf(tmp_path / "more" / "n.edf", "C3-M2", "Thorax", "Pleth", "Snore", "Body Position")
    plain, more = tmp_path / "a", tmp_path / "b"
    prepare([tmp_path / "plain"], plain)
    prepare([tmp_path / "more"], more)
    assert records(plain)[0].records_sha256 == records(more)[0].records_sha256
    assert "'Pleth' is not used: photoplethysmogram." in records(more)[0].notes


def test_side_channels_are_kept_where_they_are_asked_for(tmp_path):
    edf(tmp_path / "in" / "n.edf", "Pleth", "Body Position", "C3-M2", "Snore")
    (tmp_path / "side.yaml").write_text("side: [POSITION, PPG, SNORE]\n")
    rules = read_montage(tmp_path / "side.yaml")
    prepare([tmp_path / "in"], tmp_path / "out", montage=rules)
    night, epochs = records(tmp_path / "out")
    assert [c.slot for c in night.channels] == ["C3", "PPG", "SNORE", "POSITION"]
    stored = {s.modality: s for s in epochs[1].signals}
    assert list(stored) == [Modality.EEG, *SIDE] and stored[Modality.PPG].samples.shape == (1, 30 * 64)
    position = np.concatenate([e.signals[-1].physical()[0] for e in epochs])
    np.testing.assert_array_equal(position, CODES)  # as it was written, without any rounding
    in_memory = {c.slot: c for c in load_night(tmp_path / "in" / "n.edf", montage=rules).channels}
    np.testing.assert_array_equal(in_memory["POSITION"].samples, CODES)
    assert (in_memory["PPG"].quality == Quality.GOOD).all()
    kept = np.concatenate([e.signals[1].physical()[0] for e in epochs])
    np.testing.assert_allclose(kept, in_memory["PPG"].samples, atol=stored[Modality.PPG].scale[0])


def test_a_side_channel_is_never_missing_and_never_enough(tmp_path):
    path = edf(tmp_path / "n.edf", "C3-M2", "Snore")
    rules = MontageRules(side=SIDE)
    d = diagnose(path, rules)
    assert [c.slot for c in d.channels] == ["C3", "SNORE"]
    assert "CHIN" in d.missing
    assert not {"PPG", "POSITION"} & set(d.missing) and not {"PPG", "SNORE"} & set(diagnose(path).missing)
    with pytest.raises(RecordingError, match="no usable channel"):
        load_night(edf(tmp_path / "s.edf", "Snore", "Pleth"), montage=rules)


def test_settings_without_side_channels_are_what_they_were(tmp_path):
    plain = MontageRules((("E1", (None,)),), linked=True)
    assert plain.sha256() == "847a11247f6fcf65403b3fc7cbf460fca5c2fbbe037b75b69e6f29fc44bd87eb"
    assert MontageRules(plain.slots, True, SIDE).sha256() != plain.sha256()
    (tmp_path / "m.yaml").write_text("side: [EEG]\n")
    with pytest.raises(ValueError, match="side must be a list of any of PPG, SNORE, POSITION"):
        read_montage(tmp_path / "m.yaml")
