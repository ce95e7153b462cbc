"""Which parameters are computed with in the compute dtype, and which stay float32: the only place that says so.

Masters, gradients and moments are float32. A module knows no dtype: it computes in that of the weights it is given,
so what is cast before `merge` decides the precision of everything. Signals and their spectra, the statistics of
norms, softmax, the router and losses are float32 whatever the weights.
"""

from __future__ import annotations

import re

import jax.numpy as jnp

FLOAT32 = re.compile(
    r"(^|/)(scale|log_scale|a_log|dt_bias|d)$"  # gains, temperatures, decays: exponentiated, or few and cheap
    r"|(^|/)router/kernel$"  # a rounded logit sends a token to another expert
    r"|^heads/"  # logits that are thresholded and calibrated
)


def compute_dtype(name: str, dtype: str) -> jnp.dtype:
    """What the parameter of this flat name is computed with when all else is computed in `dtype`."""
    return jnp.dtype("float32" if FLOAT32.search(name) else dtype)
