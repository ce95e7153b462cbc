"""What a kind of run is to the training loop, and what the losses of all of them do alike.

A phase works on the parameters of the whole model, plus those under "objective/" that only the loss needs and that
no model folder carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.data.batches import Batches, window_batches
from sleepmami_jax.frozen import model_slots
from sleepmami_jax.models.sleepmami import Params, SleepMaMi, merge, split


@dataclass(frozen=True)
class Phase:
    """What the training loop needs to know.

    Attributes:
      params: of the model and, under "objective/", of the loss.
      trainable: the beginnings of the names of those that are trained.
      loss: `(params, batch, keys, axes) -> (loss, metrics)`, run inside `training.sharding.shard_loss`, which
        brings the parameters in the compute dtype.
      batches: an iterator of numpy batches with `get_state` and `set_state`.
      global_batch: examples in a batch, over all devices.
      accumulates: True if the loss itself takes the batch in `Experiment.accumulate` parts, because it compares all
        examples with each other; otherwise the loop may average the gradients of parts.
    """

    params: Params
    trainable: tuple[str, ...]
    loss: Callable
    batches: Any
    global_batch: int
    accumulates: bool = False


def with_objective(params: Params, module: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    """The structure of what only the loss needs, and `params` with its parameters under "objective/"."""
    graph, extra = split(module)
    return graph, params | {f"objective/{name}": value for name, value in extra.items()}


def modules(
    graph: nnx.GraphDef, objective: nnx.GraphDef | None, params: Params
) -> tuple[SleepMaMi, nnx.Module | None]:
    """The model and the loss's own module, from all parameters of a phase."""
    own = {n: v for n, v in params.items() if not n.startswith("objective/")}
    extra = {n.removeprefix("objective/"): v for n, v in params.items() if n.startswith("objective/")}
    return merge(graph, own), None if objective is None else merge(objective, extra)


def router_loss(
    router: dict[str, jax.Array], config: MicroPretraining | MacroPretraining | Finetuning
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The router's part of a loss, and all of its statistics as metrics; nothing without a router.

    Args:
      router: statistics over all devices, scalars.
    """
    if not router:
        return jnp.zeros(()), {}
    loss = config.balance_weight * router["balance"] + config.router_z_weight * router["z"]
    return loss, {f"moe_{key}": value for key, value in router.items()}


def signal_windows(experiment: Experiment, epochs: int, rows: Sequence[int]) -> Batches:
    """This process's batches of windows of so many epochs, for a Micro-Encoder that is trained."""
    return window_batches(
        experiment.data,
        model_slots(experiment.model),
        epochs=epochs,
        global_batch=experiment.objective.batch,
        seed=experiment.seed,
        rows=rows,
    )
