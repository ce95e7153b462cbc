"""A phase that compiles at once: a line through numbers, with the parameters of a whole model around it."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from sleepmami_jax.objectives.reduce import global_mean
from sleepmami_jax.training.phases import Phase

NIGHTS, BATCH, STEPS = 2, 8, 10


class ToyBatches:
    """Examples by their global index; every second one is of the same night."""

    def __init__(self, batch: int):
        self._batch, self._next_index = batch, 0

    def __next__(self):
        index = np.arange(self._next_index, self._next_index + self._batch)
        self._next_index += self._batch
        x = np.random.default_rng(int(index[0])).standard_normal((self._batch, 3)).astype(np.float32)
        night, epoch = index % NIGHTS, index // NIGHTS
        return {"EEG": {"signal": x}, "night": night.astype(np.int32), "epoch": epoch.astype(np.int32)}

    def get_state(self):
        return {"global_next_index": self._next_index}

    def set_state(self, state):
        self._next_index = state["global_next_index"]

    def close(self):
        pass


def toy_loss(params, batch, keys, axes):
    """Squared distance from a line, noisy by the example's own key; `toy` of the objective, one bias of the model."""
    noise = jax.vmap(lambda key: jax.random.normal(key, ()))(keys)
    y = batch["EEG"]["signal"] @ params["objective/toy/kernel"] + params["macro/vector/bias"].sum()
    target = batch["EEG"]["signal"].sum(-1) + 0.1 * noise
    square, _ = global_mean((y - target) ** 2, jnp.ones(()), axes)
    return square, {"size": global_mean(jnp.abs(target), jnp.ones(()), axes)[0]}


def toy_phase(params, batch: int, loss=toy_loss, **options) -> Phase:
    params = {name: jnp.asarray(value) for name, value in params.items() if not name.startswith("heads/")}
    params["objective/toy/kernel"] = jnp.zeros(3)
    trainable = ("objective/toy/", "macro/vector/bias")
    return Phase(params, trainable, loss, batch, batches=ToyBatches(batch), **options)


def kill() -> None:
    """What stops a run between two steps."""
    raise KeyboardInterrupt


def lines(path) -> list[dict]:
    """The entries of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def limit_lifted_after():
    """`limit(size)`: no file may grow further, which is to a write what a full disk is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps_in(folder):
    return sorted(path.name for path in folder.iterdir())
