"""What a kind of run is to the training loop, and what the losses of all of them do alike.

A phase works on the parameters of the whole model, plus those under "objective/" that only the loss needs and that
no model folder carries. A loss that asks for a teacher sees the running average of the weights under "teacher/".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipeline.night import Demographics
from data_pipeline.tasks import Task
from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.data.arrays import blank_arrays, demographics_arrays, with_present
from sleepmami_jax.data.batches import signal_batches
from sleepmami_jax.data.embeddings import EmbeddedFolder
from sleepmami_jax.data.frozen import embed_nights, embeddings_folder, model_slots
from sleepmami_jax.data.order import Batches
from sleepmami_jax.models.sleepmami import Params, SleepMaMi, merge, split
from sleepmami_jax.run.progress import Progress
from sleepmami_jax.training.phases.held_out import HeldOut

TEACHER = "teacher/"
"""Before the names of parameters: their running average, which a step shows to a loss that asks for it."""


@dataclass(frozen=True)
class Phase:
    """What the training loop needs to know.

    Attributes:
      params: of the model and, under "objective/", of the loss.
      trainable: the beginnings of the names of those that are trained.
      loss: `(params, batch, keys, axes) -> (loss, metrics)`, run inside `training.sharding.shard_gradient`, which
        brings the parameters in the compute dtype.
      global_batch: examples in a batch, over all devices.
      accumulates: True if the loss itself takes the batch in `Experiment.accumulate` parts, because it compares all
        examples with each other; otherwise the loop may average the gradients of parts.
      teacher: the beginning of the names of parameters whose running average the loss sees under `TEACHER`; "" is none.
      batches: an iterator of numpy batches with `get_state` and `set_state`; None in a plan.
      held_out: what it is validated on; None where it is not, and in a plan.
    """

    params: Params
    trainable: tuple[str, ...]
    loss: Callable
    global_batch: int
    accumulates: bool = False
    teacher: str = ""
    batches: Any = None
    held_out: HeldOut | None = None


def with_objective(params: Params, module: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    """The structure of what only the loss needs, and `params` with its parameters under "objective/"."""
    graph, extra = split(module)
    return graph, params | {f"objective/{name}": value for name, value in extra.items()}


def modules(graph: nnx.GraphDef, objective: nnx.GraphDef | None, params: Params) -> tuple[SleepMaMi, nnx.Module | None]:
    """The model and the loss's own module, from all that a loss is given."""
    return merge(graph, _own(params)), None if objective is None else merge(objective, _below("objective/", params))


def teacher_of(graph: nnx.GraphDef, params: Params) -> SleepMaMi:
    """The model with the running average of its weights; where none is shown, as in validation, the model itself."""
    return merge(graph, _own(params) | _below(TEACHER, params))


def _own(params: Params) -> Params:
    return {n: v for n, v in params.items() if not n.startswith(("objective/", TEACHER))}


def _below(prefix: str, params: Params) -> Params:
    return {n.removeprefix(prefix): v for n, v in params.items() if n.startswith(prefix)}


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


def shapes_of(arrays, batch: int):
    """Arrays of one example, with a leading 1, as shapes of so many."""
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct((batch, *np.shape(v)[1:]), np.asarray(v).dtype), arrays)


def blank_places() -> dict[str, np.ndarray]:
    """Whose and which epochs, as `signal_batches` says of one example."""
    return {name: np.zeros(1, np.int32) for name in ("night", "person", "epoch")}


def signal_window_shapes(experiment: Experiment, epochs: int, tasks: Sequence[Task] = ()):
    """Shapes of the global batch of `signals`, of windows."""
    slots = model_slots(experiment.model)
    arrays = with_present(blank_arrays(epochs, slots, tasks), slots)
    window = jax.tree.map(lambda v: v[None], arrays | {"demographics": demographics_arrays(Demographics())})
    return shapes_of(window | blank_places(), experiment.objective.batch)


def read_by(experiment: Experiment, rows: Sequence[int]) -> dict[str, Any]:
    """What all readers of batches are told: the size of a batch, the seed, and this process's rows."""
    return {"global_batch": experiment.objective.batch, "seed": experiment.seed, "rows": rows}


def signals(
    experiment: Experiment,
    epochs: int | None,
    rows: Sequence[int],
    tasks: Sequence[Task] = (),
    event_windows: float = 0.0,
) -> Batches:
    """This process's batches of single epochs, or of windows of so many, for a Micro-Encoder that is trained."""
    slots = model_slots(experiment.model)
    how = {"tasks": tasks, "event_windows": event_windows, **read_by(experiment, rows)}
    return signal_batches(experiment.data, slots, epochs=epochs, **how)


def frozen_tokens(experiment: Experiment, params: Params, workdir: Path, progress: Progress) -> list[EmbeddedFolder]:
    """The micro tokens of all nights of the run, by a Micro-Encoder that is not trained."""
    out = embeddings_folder(experiment, workdir)
    return embed_nights(experiment.model, params, experiment.data, out, progress)
