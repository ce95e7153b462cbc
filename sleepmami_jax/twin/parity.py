"""How far the twin is from the model it came from: layer by layer, in float32 and bfloat16, on the same nights.

Nights of noise and simulated ones, with all sensors and without some. In float32 both must agree to `LIMIT` everywhere;
what bfloat16 costs is told beside it: two programs round differently, and neither is the truth.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.load import load_night
from data_pipeline.modalities import RATE_HZ
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate import simulate_cohort
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.data.arrays import Slots, night_signals
from sleepmami_jax.data.frozen import QUICKLY
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.macro import epoch_summary
from sleepmami_jax.models.precision import compute_dtype
from sleepmami_jax.models.sleepmami import merge, structure

LIMIT = 1e-4
"""The largest absolute difference in float32, of any number of any layer."""
SIMULATED_H = 0.5
Signals = dict[str, tuple[np.ndarray, np.ndarray]]
"""Modality -> signal (E, C, T) float32 and usable (E, C, 30) bool, of one night."""


class ParityError(ValueError):
    """The twin says something else than the model; names the layer and the night."""


def random_night(slots: Slots, n_epochs: int, seed: int = 0) -> Signals:
    """Noise on every channel, a tenth of the seconds unusable, and one epoch of which nothing is usable."""
    rng, night = np.random.default_rng(seed), {}
    for m, names in slots.items():
        signal = rng.standard_normal((n_epochs, len(names), EPOCH_S * RATE_HZ[m])).astype(np.float32)
        usable = rng.random((n_epochs, len(names), EPOCH_S)) > 0.1
        usable[n_epochs // 3] = False
        night[m.value] = signal * np.repeat(usable, RATE_HZ[m], axis=-1), usable
    return night


def simulated_night(slots: Slots, seed: int = 5) -> Signals:
    """A simulated night as the model is given it."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = simulate_cohort(Path(folder), 1, site="a", seed=seed, hours=(SIMULATED_H, SIMULATED_H))
        night = load_night(path)
    (arrays,) = night_signals(night, slots, night.n_epochs)
    return {m: (arrays[m]["signal"], arrays[m]["usable"]) for m in (modality.value for modality in slots)}


def without_sensors(night: Signals) -> Signals:
    """The same night with every second modality gone, and of the others all channels but the first."""
    lacking = {}
    for place, (name, (signal, usable)) in enumerate(night.items()):
        kept = usable & (np.arange(usable.shape[1])[:, None] == 0) & (place % 2 == 0)
        lacking[name] = np.where(np.repeat(kept, signal.shape[-1] // EPOCH_S, axis=-1), signal, 0), kept
    return lacking


def nights(slots: Slots) -> Iterator[tuple[str, Signals]]:
    """The nights that a twin is measured on."""
    simulated = simulated_night(slots)
    noise = random_night(slots, len(next(iter(simulated.values()))[0]))
    for name, night in (("noise", noise), ("simulated", simulated)):
        yield name, night
        yield f"{name}, sensors missing", without_sensors(night)


def ours(folder: ModelFolder, night: Signals, dtype: str) -> dict[str, np.ndarray]:
    """Every layer's output of one night, in JAX."""
    params = {name: jnp.asarray(v, compute_dtype(name, dtype)) for name, v in folder.params.items()}
    return {name: np.asarray(v, np.float32) for name, v in _program(folder.config, folder.tasks)(params, night).items()}


@lru_cache
def _program(config: ModelConfig, tasks: tuple[Task, ...]) -> Callable:
    """One compilation a dtype and a length of night, whatever the weights."""
    graph, _ = structure(config, tasks=tasks)

    def run(params, night):
        model, out = merge(graph, params), {}
        for m, encoder in model.micro.private.items():
            h, measured, _ = encoder(*night[m], None)
            out |= {f"measured {m}": measured, f"private {m}": h}
        tokens = model.micro({m: {"signal": signal, "usable": usable} for m, (signal, usable) in night.items()})
        x, ok = tokens.x[None], tokens.ok[None]
        summary = epoch_summary(x, ok, config)
        vector, epochs = model.macro(*summary)
        seconds = model.seconds(x, ok, epochs)
        out |= {"tokens": x, "summary": summary[0], "vector": vector, "epochs": epochs, "seconds": seconds}
        fast = None
        if model.fast is not None:
            out["fast"] = fast = model.fast(x, ok, seconds)
        for task in tasks:
            features = epochs if task.kind is TaskKind.STAGES else fast if task.rate_hz > 1 else seconds
            out[f"logits {task.name}"] = model.heads[task.name](features)
        return out

    return jax.jit(run, compiler_options=QUICKLY if jax.default_backend() == "cpu" else None)


def twins(model, night: Signals) -> dict[str, np.ndarray]:
    """The same of the twin: `model` is its `SleepMaMi`."""
    import torch

    with torch.no_grad():
        batch, out = {m: tuple(map(torch.from_numpy, pair)) for m, pair in night.items()}, {}
        for m, encoder in model.micro.private.items():
            h, measured, _ = encoder(*batch[m])
            out |= {f"measured {m}": measured, f"private {m}": h}
        tokens, ok = (v[None] for v in model.micro(batch))
        said = model(tokens, ok)
        out |= {"tokens": tokens, "summary": model.summary(tokens, ok)[0]}
        names = {task["name"] for task in model.tasks}
        out |= {f"logits {name}" if name in names else name: v for name, v in said.items()}
    return {name: v.float().numpy() for name, v in out.items()}


def measure(folder: ModelFolder, loaded: Any, cases: Mapping[str, Signals]) -> dict[str, Any]:
    """Largest and mean absolute difference of every layer.

    Args:
      loaded: `() -> SleepMaMi`, the twin.

    Returns:
      {dtype: {night: {layer: {"max", "mean", "largest"}}}}, `largest` is the largest |number| of the layer.
    """
    errors: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        model = loaded() if dtype == "float32" else loaded().in_bfloat16()
        errors[dtype] = {}
        for name, night in cases.items():
            expected, found = ours(folder, night, dtype), twins(model, night)
            if expected.keys() != found.keys():
                raise ParityError(f"the twin gives {sorted(found)}, the model {sorted(expected)}")
            errors[dtype][name] = {layer: difference(expected[layer], found[layer]) for layer in expected}
    return errors


def difference(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Largest and mean absolute difference, and the largest |number| expected. Raises ParityError for another shape."""
    if expected.shape != found.shape:
        raise ParityError(f"an array has the shape {found.shape}, expected {expected.shape} as of the model")
    off = np.abs(expected.astype(np.float64) - found)
    return {"max": float(off.max()), "mean": float(off.mean()), "largest": float(np.abs(expected).max())}


def check(errors: Mapping[str, Any]) -> None:
    """Raises ParityError where float32 differs by more than `LIMIT`, or is not a number."""
    for night, layers in errors["float32"].items():
        for layer, found in layers.items():
            if not found["max"] <= LIMIT:
                raise ParityError(
                    f"{layer} of the night '{night}' differs by {found['max']:.2g} in float32, expected at most "
                    f"{LIMIT:g}: the twin is not the model, and nothing was written"
                )


def largest(errors: Mapping[str, Any]) -> float:
    """The largest absolute difference in float32 over all nights and layers."""
    return max(found["max"] for layers in errors["float32"].values() for found in layers.values())


def table(errors: Mapping[str, Any], folder: ModelFolder, versions: Mapping[str, str]) -> str:
    """`parity.md`: a row a layer, the worst of all nights."""
    nights_of, (first, *_) = errors["float32"], errors["float32"].values()
    said = ", ".join(task.name for task in folder.tasks if task.kind is not TaskKind.MEASURED) or "none"
    lines = [
        "# The twin in PyTorch beside the model in JAX",
        "",
        f"Absolute differences of every layer, the worst over the nights {'; '.join(nights_of)}. Heads: {said}. "
        f"Float32 may differ by {LIMIT:g} at most. {', '.join(f'{k} {v}' for k, v in versions.items())}, on the CPU.",
        "",
        "| layer | largest number | float32 max | float32 mean | bfloat16 max | bfloat16 mean |",
        "|---|---|---|---|---|---|",
    ]
    for layer in first:
        worst = {
            (dtype, what): max(night[layer][what] for night in errors[dtype].values())
            for dtype in errors
            for what in ("max", "mean")
        }
        size = max(night[layer]["largest"] for night in nights_of.values())
        numbers = " | ".join(f"{worst[key]:.1e}" for key in worst)
        lines.append(f"| {layer} | {size:.3g} | {numbers} |")
    return "\n".join(lines) + "\n"
