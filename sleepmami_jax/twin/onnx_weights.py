"""Matrices of an ONNX graph in fewer bits: how they are stored, while everything is computed in float32.

A stored matrix goes through a cast, and for int8 a product with one scale for each output channel, which ONNX Runtime
does once, when it loads the graph. Gains, decays, steps, biases, the router, the heads and what is not learnt stay
float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from re import Pattern

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = ("float32", "bfloat16", "int8")
STEPS = 127
"""The largest of int8's numbers; -128 has no counterpart and is not used."""
EXPERTS = (".feedforward.up", ".feedforward.down")
"""Matrices (experts, in, out); all others have their output channels first."""


def in_fewer_bits(graph: onnx.ModelProto, kind: str, float32: Pattern[str]) -> onnx.ModelProto:
    """A copy of the graph with its matrices stored as `kind`, one of `KINDS`.

    Args:
      float32: names of weights that stay as they are.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    if kind == "float32":
        return changed
    before = []
    for matrix in list(_matrices(changed.graph, float32)):
        name, values = matrix.name, numpy_helper.to_array(matrix)
        changed.graph.initializer.remove(matrix)
        if kind == "bfloat16":
            stored = values.astype(ml_dtypes.bfloat16).tobytes()
            tensor = helper.make_tensor(f"{name}.stored", TensorProto.BFLOAT16, values.shape, stored, raw=True)
            changed.graph.initializer.append(tensor)
            before.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
            continue
        whole, scale = rounded(values, axis=values.ndim - 1 if name.endswith(EXPERTS) else 0)
        for part, value in (("stored", whole), ("scale", scale)):
            changed.graph.initializer.append(numpy_helper.from_array(value, f"{name}.{part}"))
        before.append(helper.make_node("Cast", [f"{name}.stored"], [f"{name}.whole"], to=TensorProto.FLOAT))
        before.append(helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]))
    nodes = [*before, *changed.graph.node]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def rounded(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the same shape, and float32 scales that broadcast to it, one for each place along `axis`.

    The first axis of experts is kept too: each has scales of its own.
    """
    inside = tuple(i for i in range(values.ndim) if i != axis and not (axis and i == 0))
    scale = np.maximum(np.abs(values).max(inside, keepdims=True) / STEPS, np.finfo(np.float32).tiny)
    return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)


def _matrices(graph: onnx.GraphProto, float32: Pattern[str]) -> Iterator[onnx.TensorProto]:
    for tensor in graph.initializer:
        name = tensor.name.removeprefix("model.")
        weight = name.endswith((".weight", *EXPERTS)) and len(tensor.dims) > 1
        if weight and not float32.search(name):
            yield tensor
