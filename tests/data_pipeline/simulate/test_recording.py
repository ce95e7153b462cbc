"""One body seen by two laboratories."""

import edfio
import numpy as np
import pytest

from data_pipeline.load import load_night
from data_pipeline.modalities import SLOTS
from data_pipeline.simulate import simulate_cohort
from data_pipeline.simulate.artefacts import Artefact
from data_pipeline.simulate.events import draw_events
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W
from data_pipeline.simulate.laboratory import draw_site
from data_pipeline.simulate.person import draw_person
from data_pipeline.simulate.recording import record
from data_pipeline.simulate.sites import SITES
from data_pipeline.simulate.write import RECORD_S
from tests.support.simulated import truth_of


def test_both_sites_show_microvolts_after_rereferencing(cohort):
    _, paths = cohort
    a, b = (edfio.read_edf(path) for path in paths[:2])
    derived = b.get_signal("C3").data - b.get_signal("M2").data
    chin = 1e3 * (b.get_signal("Chin1").data - b.get_signal("Chin2").data)
    assert 5 < np.median(np.abs(derived)) * 1.48 < 40
    assert 5 < np.median(np.abs(a.get_signal("EEG C3-M2").data)) * 1.48 < 40
    assert np.median(np.abs(derived)) < 0.8 * np.median(np.abs(b.get_signal("C3").data))
    assert 0.5 < np.median(np.abs(chin)) * 1.48 < 25


STAGES = np.repeat([W, N1, N2, N3, REM, W], [8, 8, 24, 16, 16, 8]).astype(np.int8)
FAILS_S = (600.0, 1200.0)  # onset and duration
FAILURES = {"F3": ("dead", 0.0), "C4": ("dead", 900.0), "LEG_L": ("dead", 0.0), "ECG": ("dead", 2500.0)}
FAILURES |= {"THERMISTOR": ("dead", 0.0), "ABDOMEN": ("dead", 0.0), "CHIN": ("dead", 2000.0)}
FAILURES |= {"SPO2": ("dropout", 0.0), "E1": ("open", 50.0)}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_sensor_that_fails_is_flagged_and_one_that_works_is_not(tmp_path, seed):
    rng = np.random.default_rng([51, seed])
    person = draw_person(rng, "x", variety=1)
    site = SITES["a"]
    for _ in range(5000):  # until one has all these sensors, and a band that does not hide an open lead
        site = draw_site(rng, SITES["ab"[seed % 2]], person, STAGES, variety=1)
        bands = [lead.band_hz[1] or np.inf for lead in site.leads if lead.slot == "E1"]
        rates = [lead.rate_hz for lead in site.leads if lead.slot in FAILURES and lead.slot in (*SLOTS["EEG"], "CHIN")]
        slots = {lead.slot for lead in site.leads}
        if FAILURES.keys() <= slots and bands[0] >= 100 and min(rates) >= 128 and site.cpap_from_s is None:
            break
    faults = [Artefact(kind, slot, *FAILS_S, amplitude) for slot, (kind, amplitude) in FAILURES.items()]
    events = draw_events(rng, person, STAGES, variety=1)
    signals = record(rng, person, STAGES, events, faults, site, variety=1)
    edfio.Edf(signals, data_record_duration=RECORD_S).write(tmp_path / "night.edf")
    night = load_night(tmp_path / "night.edf")
    inside = slice(int(FAILS_S[0]) + 90, int(sum(FAILS_S)) - 5)  # a belt's high-pass takes a minute to settle
    for channel in night.channels:
        flagged = channel.quality > 0
        if channel.slot in FAILURES:
            # Open leads are told in stretches of five minutes, one of which may look like something else.
            least = 0.7 if FAILURES[channel.slot][0] == "open" else 0.95
            assert flagged[inside].mean() > least, channel.slot
        outside = np.r_[flagged[: int(FAILS_S[0]) - 5], flagged[int(sum(FAILS_S)) + 30 :]]
        if channel.modality != "RESP":  # whose recorders may clip
            assert outside.mean() < 0.1, channel.slot


def test_varied_nights_are_read_as_what_they_are(tmp_path):
    """Every lead finds its slot, in plausible units, and the scoring says what the truth says."""
    for path in simulate_cohort(tmp_path, 4, seed=6, hours=(0.5, 0.5), variety=1):
        truth = truth_of(tmp_path, path)
        table = path.with_suffix(".csv")
        night = load_night(path, [table] if table.exists() else [])
        recorded = {lead["slot"] for lead in truth["site"]["leads"]} - {"M1", "M2", "CHIN_REF"}
        assert {channel.slot for channel in night.channels} == recorded
        assert not [note for note in night.notes if "unknown terms" in note or "unit" in note]
        assert len(night.scoring.events) == sum(event["scored"] for event in truth["events"])
        assert (night.scoring.stages >= 0).all()
        for channel in night.channels:
            good = channel.samples.reshape(len(channel.quality), -1)[channel.quality == 0]
            if channel.slot == "SPO2":
                assert 75 < np.median(good) <= 100
            elif channel.modality == "EEG":
                assert 2 < np.median(np.abs(good)) < 60
