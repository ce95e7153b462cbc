"""Low-rank adapters (Hu et al., ICLR 2022): few numbers beside matrices that stay, and part of these once a run is
over.

A matrix W (inputs, outputs) becomes W + SCALE · A B, of A (inputs, rank) and B (rank, outputs). B begins at 0, so that
a run begins with the model as it was. They are parameters like any others, under "lora/", until the model is saved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sleepmami_jax.models.initial import Rngs, lecun, zeros
from sleepmami_jax.models.sleepmami import Params

LORA = "lora/"
ADAPTED = re.compile(r"(attention/(qkv|out)|feedforward/(up|down)|in_proj|out_proj)/kernel$")
"""The matrices of attention, MLPs and state-space blocks. Experts keep theirs: each sees a part of the tokens."""
SCALE = 2.0
"""Alpha over rank; alpha is twice the rank (our choice, as is usual)."""


def adapters(params: Params, within: Sequence[str], rank: int, rngs: Rngs) -> Params:
    """Fresh adapters to those of `params` whose names begin with one of `within`."""
    made = {}
    for name in params:
        if name.startswith(tuple(within)) and ADAPTED.search(name):
            inputs, outputs = params[name].shape
            made[f"{LORA}{name}/in/kernel"] = lecun(rngs.params(), (inputs, rank))
            made[f"{LORA}{name}/out/kernel"] = zeros(rngs.params(), (rank, outputs))
    return made


def merged(params: Params) -> Params:
    """The parameters with what adapters add to them, and no adapters; as they are where there are none."""
    whole = {name: value for name, value in params.items() if not name.startswith(LORA)}
    for name in whole:
        if (into := f"{LORA}{name}/in/kernel") in params:
            low_rank = params[into] @ params[f"{LORA}{name}/out/kernel"]
            whole[name] = whole[name] + SCALE * low_rank.astype(whole[name].dtype)
    return whole
