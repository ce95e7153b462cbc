"""A night of more than a day, a stretch at a time: what is made on the way is then as large as a stretch.

A shorter night is one stretch, and its program knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from data_pipeline.night import EPOCH_S

DAY_EPOCHS = 24 * 3600 // EPOCH_S
STRETCH_EPOCHS = 60
"""Half an hour: XLA on a CPU makes of a convolution something nine times as large on the way. It divides the buckets of
`data.arrays`, so that none of a night is cut short."""


def by_stretches(run: Callable[..., Any], *parts: jax.Array, around: int = 0) -> Any:
    """`run` of a night's parts (N, E, ...), of a long night of one stretch after another.

    >>> by_stretches(lambda x: 2 * x, jnp.ones((1, 3))).shape
    (1, 3)

    Args:
      run: parts (N, e, ...) -> arrays (N, e, ...), or (N, 1, ...) of which the night has one a stretch.
      around: epochs on either side that what `run` makes of an epoch hangs on. Beyond the night's ends they are 0.
    """
    epochs = parts[0].shape[1]
    if epochs <= DAY_EPOCHS:
        return run(*parts)

    def of_stretch(first: jax.Array) -> Any:
        places = first + jnp.arange(-around, STRETCH_EPOCHS + around)
        places = jnp.where(places < 0, epochs, places)  # below 0 is from the end
        out = run(*(jnp.take(v, places, axis=1, mode="fill", fill_value=0) for v in parts))
        return jax.tree.map(lambda v: v[:, around : around + STRETCH_EPOCHS], out)

    out = jax.lax.map(of_stretch, jnp.arange(0, epochs, STRETCH_EPOCHS))
    return jax.tree.map(lambda v: jnp.moveaxis(v, 0, 1).reshape(v.shape[1], -1, *v.shape[3:])[:, :epochs], out)
