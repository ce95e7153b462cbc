"""The twin as two ONNX graphs: epochs to tokens, and tokens of a night to all that is said of it.

The twin is traced, which keeps no loop. What it does in loops whose length the input decides takes another form that
says the same: scans over time are functions of the graph, made of ONNX's Scan, and experts are a sum over all of them
in which those not chosen weigh nothing. A night is padded at its end to a multiple of `BLOCK` epochs at the deepest
level, which are masked and thus change nothing, and what is said of them is cut off: so its length may be any.

The tracer is TorchScript's (`dynamo=False`). The newer one takes minutes of symbolic shapes and a compilation for each
scan, for the same graph.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import TaskKind

BLOCK = 16
"""Steps of a scan by chunks, whatever the model's, which change nothing but its speed: about the best on CPUs."""
OPSET, OURS = 18, "sleepmami"
"""The version of ONNX's operators, and the domain of our functions."""


def _of_any_length(y: Any, like: Any) -> Any:
    """`y`, of the type of `like` but for its sizes: those of the example would be taken for everybody's."""
    return y.setType(like.type().with_sizes([None] * like.type().dim()))


class Gathered(torch.autograd.Function):
    """The twin's `gathered` from no state on, traced as one call."""

    @staticmethod
    def forward(ctx: Any, keep: Tensor, left: Tensor) -> Tensor:
        return torch.zeros_like(left)

    @staticmethod
    def symbolic(g: Any, keep: Any, left: Any) -> Any:
        return _of_any_length(g.op(f"{OURS}::Gathered", keep, left), left)


class SelectiveScan(torch.autograd.Function):
    """The twin's `selective_scan` from no state on, traced as one call."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @staticmethod
    def symbolic(g: Any, x: Any, dt: Any, a: Any, b: Any, c: Any) -> Any:
        return _of_any_length(g.op(f"{OURS}::SelectiveScan", x, dt, a, b, c), x)


def _functions() -> list[onnx.FunctionProto]:
    """What the calls of `Gathered` and `SelectiveScan` mean."""
    node = helper.make_node

    def function(name: str, given: list[str], *nodes: onnx.NodeProto) -> onnx.FunctionProto:
        return helper.make_function(OURS, name, given, ["y"], nodes, [helper.make_opsetid("", OPSET)])

    def scan(state: str, rows: list[str], *nodes: onnx.NodeProto) -> onnx.NodeProto:
        """`nodes` make `next` and `said` of `state` and of the row of each of `rows`, along axis 1."""
        given, made = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
            for names in (["state", *(f"{row}_t" for row in rows)], ["next", "said"])
        )
        body = helper.make_graph(nodes, "step", given, made)
        axes = {"scan_input_axes": [1] * len(rows), "scan_output_axes": [1]}
        return node("Scan", [state, *rows], ["last", "y"], body=body, num_scan_inputs=len(rows), **axes)

    def integers(name: str, *values: int) -> onnx.NodeProto:
        return node("Constant", [], [name], value_ints=values)

    gathered = function(
        "Gathered",
        ["keep", "left"],
        node("Constant", [], ["first"], value_int=0),
        node("Gather", ["left", "first"], ["row"], axis=1),
        node("Shape", ["row"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        scan(
            "zeros",
            ["keep", "left"],
            node("Mul", ["keep_t", "state"], ["kept"]),
            node("Add", ["kept", "left_t"], ["next"]),
            node("Identity", ["state"], ["said"]),
        ),
    )
    selective = function(
        "SelectiveScan",
        ["x", "dt", "a", "b", "c"],
        integers("along", 1),
        integers("last_axis", -1),
        node("Shape", ["x"], ["n_nights"], start=0, end=1),
        node("Shape", ["a"], ["sizes"]),
        node("Concat", ["n_nights", "sizes"], ["shape"], axis=0),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        scan(
            "zeros",
            ["x", "dt", "b", "c"],
            node("Unsqueeze", ["dt_t", "last_axis"], ["wide_dt"]),
            node("Mul", ["wide_dt", "a"], ["rate"]),
            node("Exp", ["rate"], ["keep"]),
            node("Mul", ["keep", "state"], ["kept"]),
            node("Mul", ["dt_t", "x_t"], ["driven"]),
            node("Unsqueeze", ["driven", "last_axis"], ["wide"]),
            node("Unsqueeze", ["b_t", "along"], ["wide_b"]),
            node("Mul", ["wide", "wide_b"], ["drive"]),
            node("Add", ["kept", "drive"], ["next"]),
            node("Unsqueeze", ["c_t", "along"], ["wide_c"]),
            node("Mul", ["next", "wide_c"], ["seen"]),
            node("ReduceSum", ["seen", "last_axis"], ["said"], keepdims=0),
        ),
    )
    return [gathered, selective]


def all_experts(self: Any, x: Tensor, ok: Tensor) -> Tensor:
    """The twin's `MixtureOfExperts.forward`."""
    gate, chosen = self.router(x).softmax(-1).topk(self.top_k, -1)
    gate, y = gate / gate.sum(-1, keepdim=True) * ok[..., None], torch.zeros_like(x)
    for e in range(len(self.up)):
        h = nn.functional.gelu(x @ self.up[e], approximate="tanh") @ self.down[e]
        y = y + h * (gate * (chosen == e)).sum(-1, keepdim=True)
    return y


def _transposed(g: Any, x: Any) -> Any:
    """Tensor.mT, which the tracer does not know."""
    rank = x.type().dim()
    return g.op("Transpose", x, perm_i=[*range(rank - 2), rank - 1, rank - 2])


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
    without_loops = {
        "gathered": lambda state, *rows: (Gathered.apply(*rows), state),
        "selective_scan": lambda state, *rows: (SelectiveScan.apply(*rows), state),
        "AT_ONCE": sys.maxsize,
    }
    before, experts_before = {name: getattr(module, name) for name in without_loops}, experts.forward
    chunks = [direction.chunk for direction in chunked]
    vars(module).update(without_loops)
    experts.forward = all_experts
    for direction in chunked:
        direction.chunk = BLOCK
    try:
        yield
    finally:
        vars(module).update(before)
        experts.forward = experts_before
        for direction, chunk in zip(chunked, chunks, strict=True):
            direction.chunk = chunk


def graphs(module: ModuleType, model: nn.Module) -> dict[str, onnx.ModelProto]:
    """{"micro.onnx", "macro.onnx"} of the twin `model`, an object of `module`; weights float32, under their names."""
    torch.onnx.register_custom_op_symbolic("aten::mT", _transposed, OPSET)
    with torch.no_grad(), _traceable(module, model):
        return {"micro.onnx": _micro(model), "macro.onnx": _macro(model)}


def _micro(model: nn.Module) -> onnx.ModelProto:
    names, arrays = [], []
    for name, facts in model.modalities.items():
        names += [f"{name}_signal", f"{name}_usable"]
        channels = len(facts["slots"])
        arrays += [torch.zeros(4, channels, EPOCH_S * facts["rate_hz"]), torch.ones(4, channels, EPOCH_S).bool()]
    rates = {"tokens": 1, "ok": 1}
    return _traced(Micro(model), tuple(arrays), names, rates)


def _macro(model: nn.Module) -> onnx.ModelProto:
    block = BLOCK * model.macro.merge ** len(model.macro.down)
    last = list(model.modalities.values())[-1]["span"].stop
    width = model.described["model"]["micro"]["dim"] + model.measured
    example = torch.zeros(2 * block, last, width), torch.ones(2 * block, last).bool()
    rates = {"epochs": 1, "seconds": EPOCH_S}
    fast_hz = model.preprocessing["fast_hz"]
    if model.fast is not None:
        rates["fast"] = EPOCH_S * fast_hz
    for task in model.tasks:
        stages, waves = task["kind"] == TaskKind.STAGES.value, task["rate_hz"] > 1
        rates[task["name"]] = 1 if stages else EPOCH_S * (fast_hz if waves else 1)
    return _any_length(_traced(Macro(model), example, ["tokens", "ok"], {"vector": 0} | rates), block, rates)


def _traced(module: nn.Module, args: tuple, inputs: list[str], rates: dict[str, int]) -> onnx.ModelProto:
    """`rates` are the outputs, and the rows of each in an epoch; 0 for what a night has once."""
    named = {name: {0: "epochs"} for name in inputs}
    named |= {name: {0: "epochs" if rate == 1 else f"{rate}*epochs"} for name, rate in rates.items() if rate}
    written = io.BytesIO()
    with warnings.catch_warnings():  # of constants that are meant to be constant, and of its age
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            args,
            written,
            dynamo=False,
            input_names=inputs,
            output_names=list(rates),
            dynamic_axes=named,
            opset_version=OPSET,
            custom_opsets={OURS: 1} if isinstance(module, Macro) else None,  # it complains where none is used
            do_constant_folding=False,  # so that weights keep their names, see `onnx_weights`
        )
    proto = onnx.ModelProto.FromString(written.getvalue())
    called = {node.op_type for node in proto.graph.node if node.domain == OURS}
    proto.functions.extend(function for function in _functions() if function.name in called)
    return proto


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
    for name, rate in rates.items():
        per_epoch = constant(f"{name}_per_epoch", rate)
        after.append(helper.make_node("Mul", ["n_epochs", per_epoch], [f"{name}_rows"]))
        after.append(helper.make_node("Slice", [inner[name], zero, f"{name}_rows", zero], [name]))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    return proto
