"""Simulated nights that the tests of this room share."""

import numpy as np
import pytest

from data_pipeline.simulate import simulate_cohort
from data_pipeline.simulate.breathing import make_breathing
from data_pipeline.simulate.eeg import make_eeg
from data_pipeline.simulate.events import draw_events
from data_pipeline.simulate.hypnogram import N1, N2, N3, REM, W, draw_hypnogram
from data_pipeline.simulate.person import draw_person
from tests.support.simulated import HOURS


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    return out, simulate_cohort(out, 3, seed=4, hours=HOURS, variety=0)


@pytest.fixture(scope="session")
def people():
    """200 persons with one whole night each: (person, stages, events), no signals."""
    nights = []
    for index in range(200):
        rng = np.random.default_rng([11, index])
        person = draw_person(rng, f"person-{index}", variety=0)
        stages = draw_hypnogram(rng, person, 900, variety=0)
        nights.append((person, stages, draw_events(rng, person, stages, variety=0)))
    return nights


@pytest.fixture(scope="session")
def signals():
    """One and a half hours with every stage, its events, EEG at 128 Hz, breathing at 32 Hz."""
    rng = np.random.default_rng(8)
    person = draw_person(rng, "one", variety=0)
    stages = np.repeat([W, N1, N2, N3, N2, REM, N2, N3, REM], 20).astype(np.int8)
    person = type(person)(**(vars(person) | {"ahi_per_h": 30.0, "apnea_share": 0.5, "spo2_percent": 96.0}))
    events = draw_events(rng, person, stages, variety=0)
    return (
        stages,
        events,
        make_eeg(rng, person, stages, events, 128, None, variety=0),
        make_breathing(rng, person, stages, events, 32, variety=0),
    )


@pytest.fixture(scope="session")
def varied_people():
    """60 persons as varied as people with one whole night each: (person, stages, events), no signals."""
    nights = []
    for index in range(60):
        rng = np.random.default_rng([13, index])
        person = draw_person(rng, f"person-{index}", variety=1)
        stages = draw_hypnogram(rng, person, 900, variety=1)
        nights.append((person, stages, draw_events(rng, person, stages, variety=1)))
    return nights
