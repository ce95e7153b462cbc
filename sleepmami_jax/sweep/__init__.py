"""Many runs as one experiment: what an experiment file's `sweep()` returns, and `PLOTS` of it."""

from sleepmami_jax.sweep.plan import Plot, Run
from sleepmami_jax.sweep.search import Choice, Range, search

__all__ = ["Choice", "Plot", "Range", "Run", "search"]
