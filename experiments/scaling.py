"""How a step grows with the devices that share it: work, memory, and what devices tell each other.

    sleepmami sweep --config experiments/scaling.py --workdir runs/scaling

Weak scaling of micro pretraining, size small, on 1 to 8 devices of a CPU, 16 epochs each, random signals, for meshes
that copy everything (`data`), split large parameters (`fsdp`) or the experts (`expert`). All devices share the same
cores, so `epoch_ms` shows what sharing costs, not how much faster more machines are. `given_mb` is what a device puts
into collectives in a step, `sent_mb` what it sends by ring algorithms; `state_mb` and `temporary_mb` are its part of
the state and what a step makes on the way. One run at a time (--parallel 1), or they slow each other down.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from sleepmami_jax.config import MeshConfig
from sleepmami_jax.costs.sizes import size
from sleepmami_jax.recipes import micro_tiny
from sleepmami_jax.sweep import Plot, Run

DEVICES = (1, 2, 4, 8)
MESHES = ("data", "fsdp", "expert")
EPOCHS = 16  # of a device
STEPS = 21


def grow(sweep: Path, devices: int, mesh: str) -> dict[str, float]:
    import jax
    import numpy as np

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    from sleepmami_jax.costs.collectives import collectives
    from sleepmami_jax.training.step import lower

    config = micro_tiny.get_config()
    config = replace(
        config,
        model=size("small"),
        objective=replace(config.objective, batch=EPOCHS * devices),
        mesh=MeshConfig(**({} if mesh == "data" else {mesh: devices})),
    )
    lowered, _ = lower(config, jax.devices())
    step = lowered.compile()
    found = collectives(step.as_text(), devices)
    memory = step.memory_analysis()
    rng = np.random.default_rng(0)

    def random(leaf, where):  # not below 0, as the second moments of gradients are
        draw = 0.02 * rng.random(leaf.shape)
        return jax.device_put((draw > 0.01 if leaf.dtype == bool else draw).astype(leaf.dtype), where)

    state, batch = jax.tree.map(random, lowered.args_info[0], step.input_shardings[0])
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - begun)
    return {
        "epoch_ms": 1e3 * median(seconds[1:]) / config.objective.batch,
        "given_mb": sum(c.given for c in found) / 1e6,
        "sent_mb": sum(c.sent for c in found) / 1e6,
        "state_mb": held / 1e6,
        "temporary_mb": memory.temp_size_in_bytes / 1e6,
    }


def sweep() -> tuple[Run, ...]:
    return tuple(
        Run(f"{mesh}-{n}", partial(grow, devices=n, mesh=mesh), {"mesh": mesh, "devices": n})
        for mesh in MESHES
        for n in DEVICES
    )


PLOTS = (
    Plot(
        x="devices",
        y=("given_mb", "state_mb", "temporary_mb", "epoch_ms"),
        line="mesh",
        title="Weak scaling on devices of one CPU",
        x_log=True,
    ),
)
