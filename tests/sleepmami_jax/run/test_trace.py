"""Which steps of a run are traced."""

import jax
import pytest

from sleepmami_jax.config import ConfigError
from sleepmami_jax.run.trace import Trace
from tests.support.toy import kill


@pytest.fixture
def traced(monkeypatch):
    """What was told to the profiler."""
    told = []
    monkeypatch.setattr(jax.profiler, "start_trace", told.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: told.append("end"))
    return told


def test_some_steps_after_the_first_are_traced(traced, tmp_path):
    trace, at = Trace(tmp_path, 3, 2), []
    for step in range(1, 8):
        before = len(traced)
        trace.reach(step, None)
        at += [step] * (len(traced) - before)
    assert traced == [str(tmp_path), "end"] and at == [3, 5]
    for step in range(1, 4):
        Trace(tmp_path, 1, 0).reach(step, None)
    assert len(traced) == 2


def test_a_trace_ends_with_its_run_and_is_not_for_buckets(toy_experiment, train, traced, tmp_path, bucket):
    with pytest.raises(KeyboardInterrupt):
        train(toy_experiment, tmp_path, at=5, then=kill, profile=90)
    assert traced == [str(tmp_path / "profile"), "end"]
    with pytest.raises(ConfigError, match="--profile: a trace is written to a disk"):
        train(toy_experiment, f"gs://{bucket.name}/run", profile=2)
