"""Every night's laboratory has leads of its own that a reader understands."""

from fractions import Fraction

import numpy as np
import pytest

from data_pipeline.annotations.terms import is_remark, kind_of, stage_of
from data_pipeline.modalities import MODALITY_OF, SLOTS
from data_pipeline.montage.mapping import map_channels
from data_pipeline.readers.recording import Signal, microvolts_per
from data_pipeline.simulate.hypnogram import N2, W
from data_pipeline.simulate.laboratory import draw_site
from data_pipeline.simulate.person import draw_person
from data_pipeline.simulate.sites import SITES
from data_pipeline.simulate.write import RECORD_S

REFERENCES = {"M1", "M2", "CHIN_REF"}
STAGES = np.repeat([W, N2, W], [40, 800, 20]).astype(np.int8)


@pytest.fixture(scope="module")
def laboratories():
    drawn = []
    for index in range(600):
        rng = np.random.default_rng([31, index])
        person = draw_person(rng, "x", variety=1)
        drawn.append((person, draw_site(rng, SITES["ab"[index % 2]], person, STAGES, variety=1)))
    return drawn


def test_without_variety_it_is_the_site_and_nothing_is_drawn():
    rng, untouched = np.random.default_rng(1), np.random.default_rng(1)
    person = draw_person(np.random.default_rng(0), "x", variety=0)
    assert draw_site(rng, SITES["a"], person, STAGES, variety=0) is SITES["a"]
    assert rng.random() == untouched.random()


def test_each_lead_maps_to_the_slot_it_carries(laboratories):
    for _, site in laboratories:
        signals = [
            Signal(place, lead.label, lead.unit, Fraction(lead.rate_hz), (-1.0, 1.0), (-9, 9))
            for place, lead in enumerate(site.leads)
        ]
        channels = map_channels(signals).channels
        mapped = {channel.slot: site.leads[channel.terms[0][0]].slot for channel in channels}
        slots = {lead.slot for lead in site.leads}
        assert mapped == {slot: slot for slot in slots - REFERENCES}
        used = {index for channel in channels for index, _ in channel.terms}
        assert used == set(range(len(signals))) or (site.referential and len(signals) - len(used) == 1)
        assert len({lead.label for lead in site.leads}) == len(site.leads)


def test_units_and_rates_are_those_of_recorders(laboratories):
    rates, units = {}, set()
    for _, site in laboratories:
        for lead in site.leads:
            modality = MODALITY_OF.get(lead.slot)
            rates.setdefault(modality, set()).add(lead.rate_hz)
            if modality and modality.facts.voltage:
                units.add(lead.unit)
                assert microvolts_per(lead.unit) * abs(lead.gain) == pytest.approx(1)
            assert modality is None or lead.rate_hz >= modality.facts.least_hz
            assert isinstance(lead.rate_hz * RECORD_S, int)
            assert all(hz is None or hz < lead.rate_hz / 2 for hz in lead.band_hz)
            assert len(f"{-lead.half_range:g}") <= 8  # of the header's field
    assert units == {"uV", "UV", "mV", "V"}
    assert {100, 256, 512} <= rates["EEG"] and {8, 64} <= rates["RESP"] and {1, 25} <= rates["SPO2"]


def test_some_laboratories_lack_sensors(laboratories):
    held = [{lead.slot for lead in site.leads} for _, site in laboratories]
    head = {*SLOTS["EEG"], *SLOTS["EOG"]}
    shares = {
        "no head": np.mean([not slots & head for slots in held]),
        "one EEG": np.mean([len(slots & set(SLOTS["EEG"])) == 1 for slots in held]),
        "no breathing": np.mean([not slots & {*SLOTS["RESP"], "SPO2"} for slots in held]),
        "no legs": np.mean([not slots & {"LEG_L", "LEG_R"} for slots in held]),
        "whole": np.mean([set(MODALITY_OF) - {"PPG", "SNORE", "POSITION"} <= slots for slots in held]),
    }
    assert all(0.03 < share < 0.6 for share in shares.values()), shares
    turned = np.mean([any(lead.slot == "THORAX" and lead.gain < 0 for lead in site.leads) for _, site in laboratories])
    assert 0.2 < turned < 0.5


def test_lights_and_masks_come_when_they_do(laboratories):
    for person, site in laboratories:
        if site.lights_s:
            assert 0 <= site.lights_s[0] <= 40 * 30 < 840 * 30 <= site.lights_s[1] < 860 * 30
        assert site.cpap_from_s is None or person.ahi_per_h >= 15
    assert 0.6 < np.mean([site.lights_s is not None for _, site in laboratories]) < 0.8
    assert any(site.cpap_from_s for _, site in laboratories)
    for style in SITES.values():
        for word in style.lights_words:
            assert is_remark(word) and kind_of(word) is None and stage_of(word) is None
