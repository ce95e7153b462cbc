"""Many runs as one experiment: what an experiment file's `sweep()` returns, and `PLOTS` of it."""

from sleepmami_jax.sweep.plan import Plot, Run

__all__ = ["Plot", "Run"]
