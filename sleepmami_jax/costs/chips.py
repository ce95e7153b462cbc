"""What accelerators give, for utilisation and for what a step must take.

TPUs: "How to Scale Your Model" (jax-ml.github.io/scaling-book, chapter TPUs). GPUs: NVIDIA's data sheets, without
sparsity; their link is NVLink within a host.
"""

from __future__ import annotations

from typing import NamedTuple


class Chip(NamedTuple):
    """One chip.

    Attributes:
      flops: bf16 matmul FLOPs a second.
      hbm: bytes of memory.
      hbm_rate: bytes a second of it.
      link_rate: bytes a second of one link to a neighbour, one way.
      links: of them that a ring along one axis of the torus uses at once: both directions.
    """

    flops: float
    hbm: float
    hbm_rate: float
    link_rate: float
    links: int = 2


CHIPS = {
    "TPU v4": Chip(2.75e14, 32e9, 1.2e12, 4.5e10),
    "TPU v5 lite": Chip(1.97e14, 16e9, 8.1e11, 4.5e10),  # v5e
    "TPU v5": Chip(4.59e14, 96e9, 2.8e12, 9e10),  # v5p
    "TPU v6 lite": Chip(9.2e14, 32e9, 1.6e12, 9e10),  # v6e
    "NVIDIA H100 80GB HBM3": Chip(9.9e14, 80e9, 3.35e12, 4.5e11, 1),
    "NVIDIA H200": Chip(9.9e14, 141e9, 4.8e12, 4.5e11, 1),
}
"""By JAX's `device_kind`."""


def peak_flops(device_kind: str) -> float | None:
    """FLOPs a second of a device, None for one that is not in `CHIPS` (a CPU has no such number).

    >>> peak_flops("TPU v5 lite"), peak_flops("cpu")
    (197000000000000.0, None)
    """
    return CHIPS[device_kind].flops if device_kind in CHIPS else None
