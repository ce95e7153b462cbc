"""The frozen Micro-Encoder: nights in, micro tokens out, kept on disk under the weights that made them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sleepmami_jax.config import ConfigError, DataConfig, Experiment, ModelConfig
from sleepmami_jax.data.arrays import Slots
from sleepmami_jax.data.embeddings import EmbeddedFolder, Encode, embed_folder
from sleepmami_jax.data.source import chosen_nights, open_folders
from sleepmami_jax.export.folder import ModelFolder
from sleepmami_jax.models.macro import epoch_summary
from sleepmami_jax.models.micro import layout
from sleepmami_jax.models.sleepmami import Params, merge, structure
from sleepmami_jax.run.places import in_bucket
from sleepmami_jax.run.progress import Progress

QUICKLY: dict[str, Any] = {"xla_backend_optimization_level": 1}
"""How a CPU compiles what only reads nights: an eighth faster than XLA's own level, and the program is as fast (CPU
seconds of tiny and small models, jax 0.10.2)."""


def model_slots(config: ModelConfig) -> Slots:
    """The channels a model looks at, by modality."""
    return {m: config.modalities[m].slots for m in layout(config.modalities).tokens}


def micro_encode(config: ModelConfig, params: Params) -> Encode:
    """The frozen Micro-Encoder as a function of numpy arrays of any fixed number of epochs; drops no token."""
    encode = _compiled_encode(config)
    weights = jax.device_put({name: params[name] for name in structure(config)[1]})

    def run(arrays):
        x, ok = encode(weights, jax.tree.map(jnp.asarray, arrays))
        return np.asarray(x), np.asarray(ok)

    return run


@lru_cache
def _compiled_encode(config: ModelConfig) -> Callable:
    """One compilation a shape of model, whatever the weights."""
    graph, _ = structure(config)

    def encode(weights, signals):
        tokens = merge(graph, weights).micro(signals, exact=True)
        return tokens.x, tokens.ok

    return jax.jit(encode, compiler_options=QUICKLY if jax.default_backend() == "cpu" else None)


@lru_cache
def compiled_summary(config: ModelConfig) -> Callable:
    """`macro.epoch_summary` of a model's tokens."""
    return jax.jit(lambda tokens, ok: epoch_summary(tokens, ok, config))


def embed_nights(
    model: ModelConfig, params: Params, data: DataConfig, out: Path, progress: Progress, only: tuple[str, ...] = ()
) -> list[EmbeddedFolder]:
    """Micro tokens of the chosen nights of every prepared folder, under `out`, one folder for each set of weights.

    With `only`, as if no channels but these had been recorded, in folders of their own. Of several processes, each
    makes its share; all of them see `out`.
    """
    slots, encode = model_slots(model), micro_encode(model, params)
    digest, summarise = frozen_digest(params), compiled_summary(model)
    folders = []
    for i, (source, prepared) in enumerate(zip(data.shards, open_folders(data), strict=True)):
        nights = chosen_nights(prepared.manifest, data)
        nights = nights[jax.process_index() :: jax.process_count()]
        tick = progress(f"micro tokens of {Path(source.folder).name}", len(nights))
        name = f"{i}-{Path(source.folder).name}"
        if only:
            prepared, name = prepared.with_channels(only), f"{name}-only-{'+'.join(only)}"
        target = out / digest[:12] / name
        folders.append(embed_folder(prepared, target, encode, digest, slots, summarise, nights, tick))
    multihost_utils.sync_global_devices("micro tokens")
    return folders


def embeddings_folder(experiment: Experiment, workdir: epath.Path) -> Path:
    """Where the run keeps micro tokens. Raises ConfigError if that is in a bucket."""
    folder = experiment.data.embeddings or workdir / "embeddings"
    if in_bucket(folder):
        raise ConfigError(
            f"data.embeddings: micro tokens are read from files and cannot be kept in {folder}; "
            "set it to a folder on a disk, such as data.embeddings=/disk/embeddings"
        )
    return Path(folder)


def frozen_digest(params: Params) -> str:
    """Names the weights of the Micro-Encoder."""
    return ModelFolder(ModelConfig(), {n: v for n, v in params.items() if n.startswith("micro/")}).digest()
