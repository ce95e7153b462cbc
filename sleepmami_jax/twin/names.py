"""What a parameter is called in PyTorch: one table, read both ways.

Parts of a state-space block are called what they are in `mamba_ssm.Mamba2` (`in_proj.weight`, `conv1d.weight`, `A_log`,
`D`, `dt_bias`, `norm.weight`, `out_proj.weight`); matrices are (outputs, inputs), as PyTorch has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from sleepmami_jax.models.macro import LOCAL_WIDTH


class Layout(NamedTuple):
    """How an array of ours lies in PyTorch, and the way back."""

    there: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]


AS_IT_IS = Layout(lambda v: v, lambda v: v)
MATRIX = Layout(lambda v: v.T, lambda v: v.T)  # (inputs, outputs)
DEPTHWISE = Layout(lambda v: v.T[:, None], lambda v: v[:, 0].T)  # (width, channels) -> (channels, 1, width)
LOCAL = Layout(  # (width * inputs, outputs) -> (outputs, inputs, width)
    lambda v: v.reshape(LOCAL_WIDTH, -1, v.shape[-1]).transpose(2, 1, 0),
    lambda v: v.transpose(2, 1, 0).reshape(-1, v.shape[0]),
)
TABLE = (
    (r"^(fast/mix/\d+/conv)/kernel$", r"\1/weight", LOCAL),
    (r"/kernel$", "/weight", MATRIX),
    (r"/conv_kernel$", "/conv1d/weight", DEPTHWISE),
    (r"/conv_bias$", "/conv1d/bias", AS_IT_IS),
    (r"/scale$", "/weight", AS_IT_IS),
    (r"/a_log$", "/A_log", AS_IT_IS),
    (r"/d$", "/D", AS_IT_IS),
    (r"(/bias|/dt_bias|/slot|/modality|/feedforward/up|/feedforward/down)$", r"\1", AS_IT_IS),
)
"""Ending of a flat name -> its ending in PyTorch, and how the array lies there. The first that matches counts."""
DIRECTIONS = (("/forward/", "/directions/0/"), ("/backward/", "/directions/1/"))
"""`forward` is what PyTorch calls the method of every module."""


def torch_name(name: str) -> tuple[str, Layout]:
    """What a parameter of this flat name is called in PyTorch, and how it lies there.

    >>> torch_name("macro/levels/0/0/forward/conv_kernel")[0]
    'macro.levels.0.0.directions.0.conv1d.weight'

    Raises:
      ValueError: the table does not know it.
    """
    for pattern, ending, layout in TABLE:
        found, n = re.subn(pattern, ending, name)
        if n:
            for ours, theirs in DIRECTIONS:
                found = found.replace(ours, theirs)
            return found.replace("/", "."), layout
    raise ValueError(f"{name}: no rule of twin/names.py says what it is called in PyTorch; add one")


def to_torch(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our parameters under the names and in the layout of PyTorch; dtypes stay."""
    named = {torch_name(name): np.asarray(value) for name, value in params.items()}
    return {name: np.ascontiguousarray(layout.there(value)) for (name, layout), value in named.items()}


def from_torch(weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The inverse of `to_torch`.

    Args:
      shapes: of the model's parameters, by flat name.

    Raises:
      ValueError: a weight is missing, is none of the model's, or has another shape; it is named.
    """
    places = {name: torch_name(name) for name in shapes}
    expected = {theirs for theirs, _ in places.values()}
    if missing := sorted(expected - weights.keys()):
        raise ValueError(f"{len(missing)} weights are missing, first {missing[0]}")
    if foreign := sorted(weights.keys() - expected):
        raise ValueError(f"{len(foreign)} weights are none of this model's, first {foreign[0]}")
    params = {}
    for name, (theirs, layout) in places.items():
        shape = layout.there(np.broadcast_to(np.float32(0), shapes[name])).shape
        if weights[theirs].shape != shape:
            raise ValueError(f"{theirs}: expected shape {shape}, found {weights[theirs].shape}")
        params[name] = np.ascontiguousarray(layout.back(weights[theirs]))
    return params
