"""FIF, mne's own."""

import struct
import warnings
from fractions import Fraction

import mne
import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.night import Quality, RecordingError
from data_pipeline.readers import open_recording
from tests.support.formats import N, ramp, write_fif


@pytest.mark.parametrize("first_samp", [0, 250])
def test_fif_keeps_units_times_and_skips(tmp_path, first_samp):
    recording = open_recording(write_fif(tmp_path, skip=True, first_samp=first_samp))
    assert [(s.label, s.unit) for s in recording.signals] == [("C4", "V"), ("SpO2", "")]
    assert "No unit is known of channels " in recording.notes[-1] and recording.gaps == ((4.0, 5.5),)
    x = recording.read(0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(x)), np.arange(400, 550))
    np.testing.assert_allclose(x[:400], ramp(2)[:400, 0] * 1e-6, rtol=1e-5)
    assert [(a.onset_s, a.text) for a in recording.annotations] == [(1.0, "Arousal"), (3.0, "Sleep stage N2")]


def test_a_rate_stored_as_a_float_is_the_fraction_it_was(tmp_path):
    """FIF keeps 32 bits of 20000/39 Hz; int() of it would be 15 s out after three hours."""
    raw = mne.io.RawArray(np.ones((1, N)), mne.create_info(["C4"], 20000 / 39, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "rec_raw.fif", verbose="ERROR")
    recording = open_recording(tmp_path / "rec_raw.fif")
    assert recording.signals[0].rate_hz == Fraction(20000, 39) and recording.duration_s == 1.95


def test_fif_in_parts_is_refused(tmp_path):
    path = write_fif(tmp_path, split_size="2MB", n=400_000)
    assert len(list(tmp_path.glob("*.fif"))) > 1
    with pytest.raises(RecordingError, match="one part of several"):
        open_recording(path)


def test_fif_that_leads_in_a_circle_is_refused(tmp_path):
    path = write_fif(tmp_path)
    data = bytearray(path.read_bytes())
    data[36 + 12 : 36 + 16] = struct.pack(">i", 36)  # the second tag names itself as the next
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="leads back to 36"):
        open_recording(path)


def test_floats_without_limits_are_never_clipped_and_gaps_are_flagged(tmp_path):
    rng = np.random.default_rng(0)
    info = mne.create_info(["C4-M1"], 128, "eeg")
    raw = mne.io.RawArray(rng.normal(0, 2e-5, (1, 128 * 60)), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([10.0], [5.0], ["BAD_ACQ_SKIP"]))
    raw.save(tmp_path / "rec_raw.fif", verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no arithmetic with infinities
        (channel,) = load_night(tmp_path / "rec_raw.fif").channels
    assert 10 < np.std(channel.samples.reshape(60, -1)[20:]) < 30
    assert (channel.quality[10:15] == Quality.GAP).all() and (channel.quality[15:] == 0).all()


def test_a_tag_cannot_claim_more_than_the_file_holds(tmp_path):
    path = write_fif(tmp_path)
    data = bytearray(path.read_bytes())
    data[44:48] = (2**31 - 1).to_bytes(4, "big")  # of the second tag, which says where the third is
    data[48:52] = (80).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="expected at least 2147483699"):
        open_recording(path)
