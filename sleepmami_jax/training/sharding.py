"""The device mesh, and how batches, parameters and optimiser state lie on it. One device is a mesh of size one, not
another path.

A batch is split over all axes of the mesh. Of parameters and what the optimiser keeps of them, large ones are split
over `fsdp` and gathered for the length of a step, in the compute dtype (stage 2 of ZeRO and half of stage 3;
Rajbhandari et al. 2020); experts live on `expert`, and tokens travel to them; along `data` everything is copied.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sleepmami_jax.config import MeshConfig
from sleepmami_jax.data.stored import normalised
from sleepmami_jax.models.moe import EXPERT
from sleepmami_jax.models.precision import compute_dtype
from sleepmami_jax.models.sleepmami import Params
from sleepmami_jax.training.optimizer import SMALL, VECTORS

FSDP = "fsdp"
AXES = ("data", FSDP, EXPERT)

SHARDING = (
    (r"(^|/)(up|down)$", P(EXPERT, FSDP)),  # (experts, in, out)
    (r"(^|/)(enter|spectrum)/(maps/\w+/)?kernel$", P(None, FSDP)),  # (in, out): what is measured is of any width
    (r"(^|/)kernel$", P(FSDP)),  # (in, out)
    (r"(^|/)(a_log|d|dt_bias|conv_bias|conv_kernel|bias|scale|log_scale)$", P()),  # rates, gains, offsets
    (r"(^|/)(slot|slots/\w+|modality|hidden_token)$", P()),  # embeddings
    (rf"^({'|'.join(VECTORS.values())})$", P()),  # what the optimiser keeps of all small parameters
)
"""Along which axes of the mesh a parameter's axes are split, by its name. First match wins; a parameter that matches
nothing is an error, and one of fewer elements than `optimizer.SMALL` is copied whatever its name."""


def rule(name: str) -> P:
    """How a large parameter of this flat name, or what the optimiser keeps of it, is split."""
    for pattern, spec in SHARDING:
        if re.search(pattern, name):
            return spec
    raise ValueError(f"{name}: no sharding rule matches this parameter; add one to sharding.SHARDING")


def spec_of(name: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """How the parameter of this flat name and shape is split over a mesh.

    Raises:
      ValueError: it matches no rule, or does not divide over the axes that its rule names.
    """
    spec = rule(name)
    if math.prod(shape) < SMALL:
        return P()
    for place, (size, axis) in enumerate(zip(shape, spec, strict=False)):
        if size % mesh.shape.get(axis, 1):
            raise ValueError(
                f"{name} {shape} does not divide over mesh.{axis}={mesh.shape[axis]} along its axis {place}; "
                f"choose a divisor of {size}"
            )
    return P(*(axis if mesh.shape.get(axis, 1) > 1 else None for axis in spec))


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The mesh of all devices, or of these. Raises ValueError if it does not have as many places as there are."""
    count = len(jax.devices() if devices is None else devices)
    split = config.fsdp * config.expert
    shape = (config.data or count // split, config.fsdp, config.expert)
    if math.prod(shape) != count:
        raise ValueError(
            f"mesh of data={config.data or 'the rest'}, fsdp={config.fsdp}, expert={config.expert}: there are {count} "
            f"devices; use sizes whose product that is, or leave mesh.data at 0"
        )
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def shardings(state, mesh: Mesh):
    """Where the leaves of a state lie: arrays in dictionaries by `spec_of` their names, all else on every device."""

    def place(path, leaf):
        named = isinstance(path[-1], jax.tree_util.DictKey) and leaf.ndim
        return NamedSharding(mesh, spec_of(path[-1].key, leaf.shape, mesh) if named else P())

    return jax.tree_util.tree_map_with_path(place, state)


def lay_out(state, mesh: Mesh):
    """A state that every process has whole, laid out over the mesh by `shardings`; a copy, which may be donated."""

    def put(leaf, sharding):
        whole = np.array(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree.map(put, state, shardings(state, mesh))


def everywhere(tree, mesh: Mesh):
    """The whole of every array on every device."""
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))(tree)


def shard_gradient(
    loss: Callable, mesh: Mesh, trainable: tuple[str, ...], dtype: str = "float32", parts: int = 1
) -> Callable:
    """`(params, batch, keys) -> ((loss, metrics), gradients)` of the parameters whose names begin so, over all devices.

    `loss(params, batch, keys, axes)` runs on every device with its part of the batch, on parameters as `_bring` gives
    them; it reduces over `axes` itself (`objectives.reduce`), so what comes out is the same everywhere.

    With `parts` each device computes its rows in equal parts, one after another, and averages in float32: activations
    of one part only are in memory, and parameters and gradients travel once. A part of all devices is a batch of its
    own: for a loss that is a mean over equally weighted examples the result is that of the whole batch; a contrast
    sees the negatives of its part alone, and weighted means are means of the parts' means.
    """

    def sharded(params, batch, keys):
        own = {name: spec_of(name, value.shape, mesh) for name, value in params.items()}
        trained = {name: spec for name, spec in own.items() if name.startswith(trainable)}

        def run(params, batch, keys):
            params = _bring(params, own, dtype)

            def loss_of(trained, batch, keys):
                return loss({**params, **trained}, batch, keys, AXES)

            weights = {name: params[name] for name in trained}
            measured, gradients = _averaged(jax.value_and_grad(loss_of, has_aux=True), parts, weights, batch, keys)
            return measured, {name: _returned(gradients[name], spec) for name, spec in trained.items()}

        out = ((P(), P()), trained)
        run = jax.shard_map(run, mesh=mesh, in_specs=(own, P(AXES), P(AXES)), out_specs=out)
        return run(params, batch, keys)

    return sharded


def _averaged(gradient: Callable, parts: int, weights: Params, *rows):
    """`gradient(weights, *rows)`, as the mean over equal parts of the rows."""
    if parts == 1:
        return gradient(weights, *rows)

    def add(total, part):
        measured, gradients = gradient(weights, *part)
        return jax.tree.map(lambda total, g: total + g.astype(jnp.float32), total, gradients), measured

    zeros = jax.tree.map(lambda x: jnp.zeros_like(x, jnp.float32), weights)
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), rows)
    total, measured = jax.lax.scan(add, zeros, split)
    measured = jax.tree.map(lambda x: x.astype(jnp.float32).mean(0), measured)
    return measured, jax.tree.map(lambda x: x / parts, total)


def _copied_along(spec: P) -> tuple[str, ...]:
    return tuple(axis for axis in AXES if axis not in spec)


def _bring(params: Params, specs: dict[str, P], dtype: str) -> Params:
    """Parameters inside `shard_map`, as this device computes with them: whole, and in the compute dtype.

    What is split over `fsdp` is gathered, cast before it travels, which halves the bytes; experts stay where they are.
    All of it counts as this device's own: what it finds of a gradient is its part of a sum.
    """

    def bring(name, x):
        spec = specs[name]
        x = jax.lax.pcast(x.astype(compute_dtype(name, dtype)), _copied_along(spec), to="varying")
        if FSDP in spec:
            x = jax.lax.all_gather(x, FSDP, axis=tuple(spec).index(FSDP), tiled=True)
        return x

    return {name: bring(name, x) for name, x in params.items()}


def _returned(gradient: jax.Array, spec: P) -> jax.Array:
    """The sum of the devices' parts of a gradient in float32, where its parameter lives."""
    gradient = gradient.astype(jnp.float32)
    if FSDP in spec:
        place = tuple(spec).index(FSDP)
        gradient = jax.lax.psum_scatter(gradient, FSDP, scatter_dimension=place, tiled=True)
    return jax.lax.psum(gradient, _copied_along(spec))


def own_rows(mesh: Mesh, batch: int) -> np.ndarray:
    """Rows of a global batch that this process's devices hold, in ascending order: those it has to read."""
    held = NamedSharding(mesh, P(AXES)).addressable_devices_indices_map((batch,))
    return np.unique(np.concatenate([np.arange(batch)[index] for index in held.values()]))


def to_devices(batch, mesh: Mesh):
    """This process's rows of a global batch (numpy, see `own_rows`) as arrays sharded over the mesh.

    Signals that are on their way (`data.stored`) travel as int16 and are normalised there; a channel that none of the
    rows has does not travel.
    """
    sharding = NamedSharding(mesh, P(AXES))

    def put(x):
        x = np.asarray(x)
        rows = len(x) // len(sharding.addressable_devices)  # of a device, one after another
        held = sharding.addressable_devices_indices_map((rows * mesh.size,)).values()
        place = {start: i * rows for i, start in enumerate(sorted(index[0].start or 0 for index in held))}

        def own(index):
            begin = place[index[0].start or 0]
            return x[begin : begin + rows]

        return jax.make_array_from_callback((rows * mesh.size, *x.shape[1:]), sharding, own)

    def put_channels(signals):
        rows = len(signals["gain"]) // len(sharding.addressable_devices) * mesh.size
        return [put(x) if len(x) else _silence(mesh, (rows, *x.shape[1:])) for x in signals["stored"]]

    stored = {name: put_channels(v) for name, v in batch.items() if isinstance(v, dict) and "stored" in v}
    others = {name: {k: x for k, x in batch[name].items() if k != "stored"} for name in stored}
    there = jax.tree.map(put, {**batch, **others})
    if not stored:
        return there
    waiting = {name: {"stored": tuple(channels), **there[name]} for name, channels in stored.items()}
    return {**there, **_normalise(mesh)(waiting)}


@lru_cache(maxsize=64)
def _silence(mesh: Mesh, shape: tuple[int, ...]) -> jax.Array:
    """Zeros that stay on the devices, in place of channels that a batch has not."""
    return jax.make_array_from_callback(
        shape, NamedSharding(mesh, P(AXES)), lambda index: np.zeros(_extent(shape, index), np.int16)
    )


def _extent(shape: tuple[int, ...], index: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(len(range(*own.indices(size))) for size, own in zip(shape, index, strict=True))


@lru_cache(maxsize=8)
def _normalise(mesh: Mesh) -> Callable:
    """`data.stored.normalised`, each device its own rows."""
    return jax.jit(normalised, out_shardings=NamedSharding(mesh, P(AXES)))


def check_batch(batch: int, mesh: Mesh, parts: int) -> None:
    """Raises ValueError unless the batch divides over the devices and into `parts` on each of them."""
    divisor = mesh.size * parts
    if batch % divisor:
        into = f"{mesh.size} devices" + (f" times accumulate={parts} parts" if parts > 1 else "")
        raise ValueError(
            f"objective.batch={batch} does not divide over {into}; "
            f"use a multiple of {divisor}, such as {-(-batch // divisor) * divisor}"
        )
