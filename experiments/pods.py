"""What a step of micro pretraining needs of TPUs that are not here: arithmetic, memory, links.

    pip install -e .[tpu]
    sleepmami sweep --config experiments/pods.py --workdir runs/pods

Compiled by libtpu on a CPU, some minutes and up to 8 GB each; no chip is touched, nothing is timed. The three times are
those of a chip that did only that, at the rates of its data sheet: useful arithmetic, traffic to memory as XLA counts
it (every operand, but a scanned layer once: no bound either way), and links. `link_share` is links over arithmetic:
below 0.1 more chips are worth their price, near 1 half of each is wasted. Batches are what keeps it low, not what
learns best.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from sleepmami_jax.config import MeshConfig
from sleepmami_jax.costs.compile import compile_ahead
from sleepmami_jax.costs.sizes import size
from sleepmami_jax.sweep import Plot, Run
from sleepmami_jax.training.step import lower

from . import micro_base

CHIPS = {"v5e:4x4": 16, "v5p:4x4x4": 64, "v5e:16x16": 256}
EPOCHS = {"base": 2048, "large": 1024, "xl": 512}  # of a chip, in parts of:
PART = {"base": 512, "large": 256, "xl": 128}
MESHES = {
    "data": MeshConfig(),
    "fsdp": MeshConfig(fsdp=16),
    "expert": MeshConfig(expert=8),
}


def needs(sweep: Path, name: str, topology: str, mesh: str) -> dict[str, float]:
    config = micro_base.get_config()
    objective = replace(config.objective, batch=CHIPS[topology] * EPOCHS[name])
    parts = EPOCHS[name] // PART[name]
    config = replace(config, model=size(name), objective=objective, accumulate=parts, mesh=MESHES[mesh])
    chip = compile_ahead(config, topology, lower)
    sent = {kind: found["sent_bytes"] / 1e6 for kind, found in chip.collectives.items()}
    return {
        "hbm_share": (chip.arguments_bytes + chip.temporary_bytes) / chip.hbm_bytes,
        "compute_ms": 1e3 * chip.compute_s,
        "memory_ms": 1e3 * chip.memory_s,
        "link_ms": 1e3 * chip.link_s,
        "link_share": chip.link_s / chip.compute_s,
        "all_reduce_mb": sent.get("all-reduce", 0.0),
        "all_gather_mb": sent.get("all-gather", 0.0),
        "reduce_scatter_mb": sent.get("reduce-scatter", 0.0),
        "all_to_all_mb": sent.get("all-to-all", 0.0),
        "largest_gather_mb": chip.largest_gather_bytes / 1e6,
        "compile_s": chip.compile_s,
    }


def sweep() -> tuple[Run, ...]:
    cells = [(name, topology, "data") for name in EPOCHS for topology in CHIPS]
    cells += [("large", "v5e:16x16", "fsdp"), ("xl", "v5e:16x16", "fsdp"), ("xl", "v5e:16x16", "expert")]
    return tuple(
        Run(
            f"{name}-{topology.replace(':', '-')}-{mesh}",
            partial(needs, name=name, topology=topology, mesh=mesh),
            {"size": name, "chips": CHIPS[topology], "topology": topology, "mesh": mesh},
        )
        for name, topology, mesh in cells
    )


PLOTS = (
    Plot(
        x="topology",
        y=("link_share", "hbm_share"),
        line="size",
        title="Micro pretraining on TPUs: links over arithmetic, and memory",
        where={"mesh": "data"},
    ),
)
