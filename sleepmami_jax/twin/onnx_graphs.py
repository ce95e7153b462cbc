"""The twin as two ONNX graphs: epochs to tokens, and tokens of a night to all that is said of it.

A graph has no Python loops. What the twin does in loops whose length the input decides is traced in another form that
says the same: scans over time as ONNX's Scan, experts as a sum over all of them in which those not chosen weigh
nothing. A night is padded at its end to a multiple of `BLOCK` epochs at the deepest level, which are masked and thus
change nothing, and what is said of them is cut off: so its length may be any, and all lengths inside are whole
multiples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from onnxscript import optimizer
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import TaskKind

BLOCK = 16
"""Steps of a scan by chunks, whatever the model's, which change nothing but its speed: about the best on CPUs."""
FOLDED = 256
"""Numbers of a constant that may be computed beforehand; larger ones keep their names, see `onnx_weights`."""


def gathered(keep: Tensor, left: Tensor) -> Tensor:
    """The twin's `gathered`."""

    def step(state: Tensor, at: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return at[0] * state + at[1], state.clone()

    along = keep.transpose(0, 1), left.transpose(0, 1)
    return scan(step, torch.zeros_like(left[:, 0]), along, dim=0)[1].transpose(0, 1)


def selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The twin's `selective_scan`."""

    def step(state: Tensor, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, dt, b, c = at
        state = (dt[..., None] * a).exp() * state + (dt * x)[..., None] * b[:, None]
        return state, (state * c[:, None]).sum(-1)

    start = torch.zeros(x.shape[0], *a.shape)
    return scan(step, start, tuple(v.transpose(0, 1) for v in (x, dt, b, c)), dim=0)[1].transpose(0, 1)


def all_experts(self: Any, x: Tensor, ok: Tensor) -> Tensor:
    """The twin's `MixtureOfExperts.forward`."""
    gate, chosen = self.router(x).softmax(-1).topk(self.top_k, -1)
    gate, y = gate / gate.sum(-1, keepdim=True) * ok[..., None], torch.zeros_like(x)
    for e in range(len(self.up)):
        h = nn.functional.gelu(x @ self.up[e], approximate="tanh") @ self.down[e]
        y = y + h * (gate * (chosen == e)).sum(-1, keepdim=True)
    return y


class Micro(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model.micro

    def forward(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        return self.model(dict(zip(self.model.private, pairs, strict=True)))


class Macro(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, ok: Tensor) -> tuple[Tensor, ...]:
        return tuple(v[0] for v in self.model(tokens[None], ok[None]).values())


@contextmanager
def _traceable(module: ModuleType, model: nn.Module) -> Iterator[None]:
    """Within it the twin does without loops; afterwards it is as it was."""
    experts, chunked = module.MixtureOfExperts, [m for m in model.modules() if isinstance(m, module.Direction)]
    before = module.gathered, module.selective_scan, experts.forward, [m.chunk for m in chunked]
    module.gathered, module.selective_scan, experts.forward = gathered, selective_scan, all_experts
    for direction in chunked:
        direction.chunk = BLOCK
    try:
        yield
    finally:
        module.gathered, module.selective_scan, experts.forward, chunks = before
        for direction, chunk in zip(chunked, chunks, strict=True):
            direction.chunk = chunk


def graphs(module: ModuleType, model: nn.Module) -> dict[str, onnx.ModelProto]:
    """{"micro.onnx", "macro.onnx"} of the twin `model`, an object of `module`; weights float32, under their names."""
    with torch.no_grad(), _traceable(module, model):
        return {"micro.onnx": _micro(model), "macro.onnx": _macro(model)}


def _micro(model: nn.Module) -> onnx.ModelProto:
    names, arrays = [], []
    for name, facts in model.modalities.items():
        names += [f"{name}_signal", f"{name}_usable"]
        channels = len(facts["slots"])
        arrays += [torch.zeros(4, channels, EPOCH_S * facts["rate_hz"]), torch.ones(4, channels, EPOCH_S).bool()]
    epochs = torch.export.Dim("epochs", min=1)
    dynamic = (tuple({0: epochs} for _ in arrays),)
    return _traced(Micro(model), tuple(arrays), dynamic, names, ["tokens", "ok"])


def _macro(model: nn.Module) -> onnx.ModelProto:
    block = BLOCK * model.macro.merge ** len(model.macro.down)
    last = list(model.modalities.values())[-1]["span"].stop
    width = model.described["model"]["micro"]["dim"] + model.measured
    blocks = torch.export.Dim("blocks", min=1)
    example = torch.zeros(2 * block, last, width), torch.ones(2 * block, last).bool()
    rates = {"epochs": 1, "seconds": EPOCH_S}
    fast_hz = model.preprocessing["fast_hz"]
    if model.fast is not None:
        rates["fast"] = EPOCH_S * fast_hz
    for task in model.tasks:
        stages, waves = task["kind"] == TaskKind.STAGES.value, task["rate_hz"] > 1
        rates[task["name"]] = 1 if stages else EPOCH_S * (fast_hz if waves else 1)
    dynamic = ({0: block * blocks}, {0: block * blocks})
    graph = _traced(Macro(model), example, dynamic, ["tokens", "ok"], ["vector", *rates])
    return _any_length(graph, block, rates)


def _traced(module: nn.Module, args: tuple, dynamic: tuple, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    program = torch.export.export(module.eval(), args, dynamic_shapes=dynamic, strict=False)
    exported = torch.onnx.export(
        program, dynamo=True, optimize=False, verbose=False, input_names=inputs, output_names=outputs
    )
    exported.model = optimizer.optimize(exported.model, input_size_limit=FOLDED, onnx_shape_inference=False)
    proto = exported.model_proto
    _bare(proto.graph)
    return proto


def _bare(graph: onnx.GraphProto) -> None:
    """Without what the tracer noted of each node, such as lines of source, and with scans as ONNX defines them."""
    del graph.value_info[:], graph.metadata_props[:]
    for initializer in graph.initializer:
        del initializer.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
        if node.op_type == "Scan":  # the exporter counts the directions wrongly; all go forward, as they do without
            kept = [a for a in node.attribute if not a.name.endswith("_directions")]
            del node.attribute[:]
            node.attribute.extend(kept)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _bare(attribute.g)


def _any_length(proto: onnx.ModelProto, block: int, rates: dict[str, int]) -> onnx.ModelProto:
    """The graph of a multiple of `block` epochs, as one of any number: padded at the end, and cut there.

    Args:
      rates: how many rows an epoch has in each output that is one of epochs or of parts of them.
    """
    graph, before, after = proto.graph, [], []
    inner = {name: f"{name}_padded" for name in ("tokens", "ok")} | {name: f"{name}_uncut" for name in rates}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inner.get(name, name) for name in names]

    def constant(name: str, *values: int) -> str:
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    zero = constant("first_axis", 0)
    before.append(helper.make_node("Shape", ["tokens"], ["n_epochs"], start=0, end=1))
    before.append(helper.make_node("Neg", ["n_epochs"], ["minus_epochs"]))
    before.append(helper.make_node("Mod", ["minus_epochs", constant("block", block)], ["lacking"]))  # never negative
    for name, given in zip(("tokens", "ok"), graph.input, strict=True):
        rest = [d.dim_value for d in given.type.tensor_type.shape.dim][1:]
        kind = given.type.tensor_type.elem_type
        fill = helper.make_tensor(f"{name}_fill", kind, [1], [0])
        sizes = ["lacking", constant(f"{name}_rest", *rest)]
        before.append(helper.make_node("Concat", sizes, [f"{name}_shape"], axis=0))
        before.append(helper.make_node("ConstantOfShape", [f"{name}_shape"], [f"{name}_none"], value=fill))
        before.append(helper.make_node("Concat", [name, f"{name}_none"], [inner[name]], axis=0))
        given.type.tensor_type.shape.dim[0].dim_param = "epochs"
    for name, rate in rates.items():
        per_epoch = constant(f"{name}_per_epoch", rate)
        after.append(helper.make_node("Mul", ["n_epochs", per_epoch], [f"{name}_rows"]))
        after.append(helper.make_node("Slice", [inner[name], zero, f"{name}_rows", zero], [name]))
        output = next(value for value in graph.output if value.name == name)
        output.type.tensor_type.shape.dim[0].dim_param = "epochs" if rate == 1 else f"{rate}*epochs"
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    return proto
