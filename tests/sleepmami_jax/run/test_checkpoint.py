"""Checkpoints: whole, cut, damaged and not to be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.run.checkpoint import CheckpointError, Checkpoints
from tests.support.toy import limit_lifted_after, steps_in

# Orbax leaves coroutines behind when a read fails.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* was never awaited:RuntimeWarning"
)


def state_at(step):
    rng = np.random.default_rng(step)
    return {
        "step": jnp.int32(step),
        "params": {
            "a/kernel": jnp.asarray(rng.standard_normal((64, 32)), jnp.float32),
            "a/bias": jnp.zeros(3),
        },
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three steps were saved; the two newest are kept."""
    path = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(path)
    for step in (1, 2, 3):
        checkpoints.save(step, state_at(step), {"next": 8 * step})
    checkpoints.close()
    return path


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run to damage."""
    return Path(shutil.copytree(run, tmp_path / "checkpoints"))


def restore(path, like=None):
    checkpoints = Checkpoints(path)
    try:
        return checkpoints.restore(state_at(0) if like is None else like)
    finally:
        checkpoints.close()


def assert_restored(found, step):
    state, position = found
    assert position == {"next": 8 * step}
    jax.tree.map(np.testing.assert_array_equal, state, state_at(step))


def array_file(path, step):
    """The largest file of a step: its arrays."""
    return max((p for p in (path / str(step)).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def test_the_newest_step_comes_back_bit_for_bit(run):
    assert_restored(restore(run), 3)
    assert sorted(p.name for p in run.iterdir()) == ["2", "3"]


def test_a_run_without_checkpoints_has_nothing_to_restore(tmp_path):
    assert restore(tmp_path / "none") is None


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("what", ["arrays", "state/manifest.ocdbt", "state/_METADATA"])
def test_a_damaged_step_is_passed_over_aloud(copy, caplog, damage, what):
    damage(array_file(copy, 3) if what == "arrays" else copy / "3" / what)
    with caplog.at_level("ERROR", logger="absl"):
        assert_restored(restore(copy), 2)
    assert f"{copy}/3 is damaged and is passed over" in caplog.text


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_step_without_its_place_in_the_data_is_passed_over(copy, damage):
    damage(copy / "3" / "_CHECKPOINT_METADATA")
    assert_restored(restore(copy), 2)


def test_a_run_goes_on_from_the_step_before_and_saves_the_damaged_one_anew(copy):
    cut(array_file(copy, 3))
    checkpoints = Checkpoints(copy)
    assert_restored(checkpoints.restore(state_at(0)), 2)
    checkpoints.save(3, state_at(3), {"next": 24})
    checkpoints.close()
    assert_restored(restore(copy), 3)


def test_when_every_step_is_damaged_nothing_starts_anew(copy):
    for step in (2, 3):
        cut(array_file(copy, step))
    with pytest.raises(CheckpointError, match=r"every checkpoint \(3, 2\) is damaged"):
        restore(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.update(extra=jnp.zeros(2)), "params/extra is missing from it"),
        (lambda p: p.pop("a/bias"), "params/a/bias is not in this model"),
        (
            lambda p: p.update({"a/bias": jnp.zeros(4)}),
            r"params/a/bias has shape \(3,\), this model \(4,\)",
        ),
    ],
)
def test_another_model_is_an_error_that_names_the_parameter(run, change, says):
    like = state_at(0)
    change(like["params"])
    with pytest.raises(CheckpointError, match=f"3 holds another model: {says}"):
        restore(run, like)


def test_what_a_killed_save_left_is_cleaned_up(copy):
    left = copy / "4.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "half").write_text("x")
    assert_restored(restore(copy), 3)
    assert not left.exists()


def test_a_full_disk_while_saving_loses_nothing(train, saving, tmp_path):
    train(saving, tmp_path / "whole")
    run = tmp_path / "run"
    with limit_lifted_after() as limit, pytest.raises(CheckpointError) as raised:
        train(saving, run, at=6, then=lambda: limit(50_000))
    assert str(run / "checkpoints") in str(raised.value)
    assert "could not be saved" in str(raised.value) and "make space" in str(raised.value)
    left = steps_in(run / "checkpoints")
    assert left[0] == "2" and "tmp" in left[-1]  # whole, and half-written
    (run / "checkpoints" / left[-1]).rename(run / "checkpoints" / "5.orbax-checkpoint-tmp")  # no later save's name
    train(saving, run)  # there is space again
    assert steps_in(run / "checkpoints") == ["10", "8"]
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
