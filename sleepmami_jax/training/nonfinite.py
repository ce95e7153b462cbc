"""Which examples, metrics and parameters made a step that is not finite.

A run that meets one stops, once it has skipped as many as `optimizer.skip_nonfinite` lets it. The parameters of that
step are still there (see `training.step`), so the step is computed again, on all of its batch and then on parts of it,
until the examples that cannot be computed even without the others are found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sleepmami_jax.config import Experiment
from sleepmami_jax.data.order import open_nights
from sleepmami_jax.training.phases import Phase
from sleepmami_jax.training.sharding import AXES, to_devices
from sleepmami_jax.training.step import example_keys, make_gradient

SHOWN = 16  # examples that a report names; all are at fault when the weights are
FILE = "nonfinite.json"


class NonFiniteError(RuntimeError):
    """The loss or the update is no longer a number; names the step, and the report with the examples."""


def is_finite(values: dict[str, float]) -> bool:
    """Whether a step with these metrics moved the weights."""
    return all(np.isfinite(values[name]) for name in ("loss", "gradient_norm", "update_norm", "parameter_norm"))


def stopped(
    experiment: Experiment, phase: Phase, mesh: Mesh, params, step: int, batch, values, workdir: epath.Path
) -> NonFiniteError:
    """Write `workdir/nonfinite.json` and return the error to raise.

    Args:
      params: those that the step began with.
      step: as in `metrics.jsonl`, from 1.
      batch: this process's rows, numpy.
      values: the step's metrics.
    """
    report = {
        "step": step,
        "metrics": [name for name, value in values.items() if not np.isfinite(value)],
        **_examine(experiment, phase, mesh, params, step, to_devices(batch, mesh)),
    }
    if jax.process_index() == 0:
        (workdir / FILE).write_text(json.dumps(report, indent=1) + "\n")
    examples = report["examples"]
    spoilt = [e for e in examples if e["inputs"]]
    if spoilt or 0 < len(examples) < min(SHOWN, phase.global_batch):
        named = sorted({f"{e.get('night')}" for e in spoilt or examples})
        cause = f"look at the data of night {', '.join(named)}"
    else:
        cause = "no example stands out: lower optimizer.learning_rate"
    return NonFiniteError(
        f"step {step}: {', '.join(report['metrics'])} not finite; the run stops here, and {workdir / FILE} says which "
        f"examples and parameters. Its last checkpoint is sound; {cause}."
    )


def _examine(experiment: Experiment, phase: Phase, mesh: Mesh, params, step: int, batch) -> dict[str, Any]:
    keys = example_keys(experiment, phase, step - 1)
    gradient = make_gradient(experiment, phase, mesh)
    everywhere, rows_of_devices = NamedSharding(mesh, P()), NamedSharding(mesh, P(AXES))

    @partial(jax.jit, out_shardings=everywhere)
    def probe(params, batch, keys, rows):
        rows_of = jax.tree.map(lambda x: x[rows], (batch, keys))
        rows_of = jax.lax.with_sharding_constraint(rows_of, rows_of_devices)
        (loss, _), gradients = gradient(params, *rows_of)
        groups: dict[str, jax.Array] = {}
        for name, value in gradients.items():
            group = "/".join(name.split("/")[:2])
            groups[group] = groups.get(group, True) & jnp.isfinite(value).all()
        return jnp.isfinite(loss), groups

    @partial(jax.jit, out_shardings=everywhere)
    def facts(batch):
        inputs = {
            jax.tree_util.keystr(path, simple=True, separator="/"): jnp.isfinite(x).reshape(len(x), -1).all(1)
            for path, x in jax.tree_util.tree_leaves_with_path(batch)
            if jnp.issubdtype(x.dtype, jnp.floating)
        }
        return inputs, {name: batch[name] for name in ("night", "epoch") if name in batch}

    def is_sound(rows: np.ndarray) -> bool:
        loss, groups = jax.device_get(probe(params, batch, keys, rows))
        return bool(loss and all(groups.values()))

    _, groups = jax.device_get(probe(params, batch, keys, np.arange(phase.global_batch)))
    inputs, places = jax.device_get(facts(batch))
    unsound = _unsound_rows(is_sound, phase.global_batch)
    nights = open_nights(experiment.data)
    examples = []
    for row in sorted(set(unsound) | {int(r) for ok in inputs.values() for r in np.flatnonzero(~ok)[:SHOWN]}):
        example = {"example": (step - 1) * phase.global_batch + row}
        if "night" in places:
            example["night"] = nights[int(places["night"][row])].night_id
        if "epoch" in places:
            example["epoch"] = int(places["epoch"][row])
        example["inputs"] = [name for name, ok in inputs.items() if not ok[row]]
        example["alone"] = "not finite" if row in unsound else "finite"
        examples.append(example)
    return {
        "gradients": [group for group, finite in groups.items() if not finite],
        "examples": examples[:SHOWN],
        "more_examples": len(unsound) == SHOWN,
    }


def _unsound_rows(is_sound: Callable[[np.ndarray], bool], n: int) -> list[int]:
    """Up to `SHOWN` rows that are unsound by themselves, by halving; each set of rows is repeated to fill a batch."""

    def search(rows: np.ndarray) -> Iterator[int]:
        if is_sound(np.resize(rows, n)):
            return
        if len(rows) == 1:
            yield int(rows[0])
            return
        for half in np.array_split(rows, 2):
            yield from search(half)

    return list(islice(search(np.arange(n)), SHOWN))
