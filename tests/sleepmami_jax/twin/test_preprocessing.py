"""What the twin makes of arrays is what our own pipeline makes of the same samples in a file."""

import importlib
import json
import sys

import numpy as np
import pytest

from data_pipeline.load import open_night
from data_pipeline.modalities import Modality
from data_pipeline.simulate import simulate_cohort
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.data.arrays import night_signals
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.models.micro import layout
from sleepmami_jax.models.stem import filters, looks_of
from sleepmami_jax.tasks import counted_events, rooms_of
from sleepmami_jax.twin.folder import FILES
from sleepmami_jax.twin.preprocessing import preprocessing
from tests.support.twins import HEADS


@pytest.fixture(scope="module")
def signals():
    """`sleepmami_signals`, which needs no torch."""
    sys.path.insert(0, str(FILES))
    yield importlib.import_module("sleepmami_signals")
    sys.path.remove(str(FILES))


@pytest.fixture(scope="module")
def rules():
    return json.loads(json.dumps(preprocessing(ModelConfig(), HEADS)))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A short simulated night, still in its file."""
    (path,) = simulate_cohort(tmp_path_factory.mktemp("made"), 1, site="a", seed=5, hours=(0.5, 0.5))
    return open_night(path)


def arrays_of(night):
    """The samples that each channel is made of, as recorded, in its unit; of a single signal also what it can say."""
    for channel in night.channels:
        recording, terms, gains = channel.recording, channel.derivation.terms, channel.gains
        reads = [recording.read(index) * np.float32(gain) for (index, _), gain in zip(terms, gains, strict=True)]
        given = sum(reads), float(channel.signal.rate_hz)
        limits = tuple(gains[0] * limit for limit in channel.signal.physical_range)
        yield channel.derivation.slot, (given if len(terms) > 1 else (*given, limits))


def test_the_filterbank_is_the_stems(signals, rules):
    for modality, token_s in layout(ModelConfig().modalities).token_s.items():
        facts = rules["modalities"][modality.value]
        for look, described in zip(looks_of(modality, token_s), facts["looks"], strict=True):
            found = signals.filterbank(described, facts["rate_hz"])
            for ours, theirs in zip(filters(look, facts["rate_hz"]), found, strict=False):
                np.testing.assert_array_equal(ours, theirs)


def test_a_simulated_night_is_prepared_as_by_the_pipeline(signals, rules, night):
    from data_pipeline.load import in_memory

    slots = model_slots(ModelConfig())
    (expected,) = night_signals(in_memory(night), slots, night.n_epochs)
    found, _ = signals.prepare_night(dict(arrays_of(night)), rules)
    for m in slots:
        signal, usable = found[m.value]
        same = usable == expected[m.value]["usable"]
        assert same.mean() > 0.995, (m, same.mean())
        rate_hz = m.facts.rate_hz
        both = np.repeat(usable & expected[m.value]["usable"], rate_hz, axis=-1)
        off = np.where(both, np.abs(signal - expected[m.value]["signal"]), 0)
        assert off.max() < 0.01, (m, off.max())


def test_events_are_counted_as_by_scoring(signals, rules):
    rng, n_epochs = np.random.default_rng(0), 40
    stages = rng.integers(-1, 5, n_epochs)
    rooms = rooms_of(HEADS)
    probs, thresholds = {}, {room.task.name: 0.5 for room in rooms}
    for room in rooms:
        n = n_epochs * room.task.per_epoch
        raw = np.repeat(rng.random((n // 4, 1 + len(room.task.events))), 4, axis=0) ** 2
        probs[room.task.name] = raw / raw.sum(-1, keepdims=True)
    described = {
        "tasks": [{**vars(t), "events": [list(k) for k in t.events], "kind": str(t.kind)} for t in HEADS],
        "thresholds": thresholds,
        "preprocessing": rules,
    }
    found = signals.decode_events(probs, stages, described, [slot for m in Modality for slot in m.facts.slots])
    for room in rooms:
        expected = counted_events(room, rooms, probs, thresholds, stages)
        told = [(e["kind"], e["onset_s"], e["duration_s"]) for e in found[room.task.name]]
        assert told == [(e.kind, e.onset_s, e.duration_s) for e in expected], room.task.name


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ({}, "none was given"),
        ({"Cz": (np.zeros(9000), 256.0)}, "channel 'Cz': the model does not know it"),
        ({"C4": (np.zeros((2, 90)), 256.0)}, r"channel 'C4': float64 of shape \(2, 90\)"),
        ({"C4": (np.zeros(9000), 0.0)}, "channel 'C4': rate 0.0 Hz"),
        ({"C4": (np.zeros(90), 256.0)}, "expected at least 30, one epoch"),
        ({"C4": (np.zeros(9000), 256.0), "C4-M1": (np.zeros(9000), 256.0)}, "the same channel"),
    ],
)
def test_arrays_that_are_none_are_named(signals, rules, channels, says):
    with pytest.raises(ValueError, match=says):
        signals.prepare_night(channels, rules)
