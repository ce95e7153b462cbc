"""How a run is measured on held-out nights as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sleepmami_jax.config.ranges import Checked, Count, Natural, Text


@dataclass(frozen=True)
class Validation(Checked):
    """Batches of split "val", the same each time, and what follows from what a run reaches on them.

    They are measured after every so many steps, and after the last; with `optimizer.ema` it is the running average of
    the weights that is measured, as it is what is exported.
    """

    every: Count = 100  # steps from one validation to the next
    batches: Count = 8  # of objective.batch examples each
    metric: Text = "loss"  # which says how good the weights are; a name as in metrics.jsonl, without "validation/"
    best: Literal["lowest", "highest"] = "lowest"
    patience: Natural = 0  # so many validations in a row without a better one end the run; 0: none do
    keep_best: bool = True  # export the weights of the best validation; False exports the last
