"""What a run of pretraining will take of chips that are not here, by arithmetic: memory of its state, and hours."""

from __future__ import annotations

from typing import NamedTuple

from sleepmami_jax.config import Experiment, MicroPretraining
from sleepmami_jax.costs.chips import CHIPS
from sleepmami_jax.costs.flops import decoder_cost, micro_costs, step_flops, total
from sleepmami_jax.models.micro import layout
from sleepmami_jax.objectives.masked import visible_tokens


class Projection(NamedTuple):
    """Of a whole run.

    Attributes:
      state_gb: of a chip: what is trained, its gradient, two moments and the running average, float32. Activations come
        on top: `sleepmami compile` has them, for TPUs.
      hbm_gb: what the chip has.
      peak_h: hours if every chip did useful FLOPs at the rate of its data sheet all the time; divide by the MFU that
        is to be expected.
    """

    state_gb: float
    hbm_gb: float
    peak_h: float


def projection(experiment: Experiment, device_kind: str, chips: int) -> Projection:
    """That of micro pretraining on so many chips of a kind in `CHIPS`.

    >>> from sleepmami_jax.costs.sizes import size
    >>> run = Experiment("run", MicroPretraining(batch=1024), model=size("base"), steps=1000)
    >>> hours = projection(run, "NVIDIA H200", 1).peak_h
    >>> round(hours / projection(run, "NVIDIA H200", 8).peak_h)
    8
    """
    objective: MicroPretraining = experiment.objective
    visible = visible_tokens(layout(experiment.model.modalities), objective.mask)
    parameters = total(micro_costs(experiment.model)).parameters
    parameters += decoder_cost(experiment.model, objective.decoder_dim, 1, visible).parameters
    copies, chip = 4 + bool(experiment.optimizer.ema), CHIPS[device_kind]
    seconds = experiment.steps * step_flops(experiment) / (chips * chip.flops)
    return Projection(4e-9 * parameters * copies / experiment.mesh.fsdp, chip.hbm / 1e9, seconds / 3600)
