"""The folder of the ONNX form: made from the twin in PyTorch, once all three are seen to say the same.

It holds `config.json`, `micro.onnx`, `macro.onnx`, those of `files/` that it needs, `README.md`, and what was measured
when it was written, `parity.json` and `parity.md`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from data_pipeline.tasks import TaskKind
from data_pipeline.whole_files import whole_folder
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.description import sealed
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError
from sleepmami_jax.export.readme import readme
from sleepmami_jax.twin import parity
from sleepmami_jax.twin.folder import FILES, twin_module, write_files

LIMIT = 1e-3
"""The largest absolute difference from the model in JAX, in float32, of any number of any output."""
LONG_EPOCHS = 960
"""Eight hours, many times longer than what the graphs are traced with: a length that was taken for a constant shows."""
LARGEST_BYTES = 2**31 - 1
"""Of a file of ONNX that holds its weights (protobuf)."""
DESCRIBED = ("use", "exported_from", "model", "tasks", "thresholds", "preprocessing", "card")
"""What `config.json` of the twin says that holds here too."""

_USE = """```
pip install onnxruntime numpy

import sys
sys.path.insert(0, "FOLDER")
from sleepmami_onnx import load

model = load("FOLDER")
night = model.score_arrays({"C4-M1": (x_uv, 256.0), "SPO2": (spo2_pct, 1.0)})
night["stages"], night["events"], night["vector"]
```

Any number of epochs is read. Channels are places that the model knows, so their number is fixed: one that was not
recorded, or a whole modality, is given to `micro.onnx` as zeros of which nothing is usable, which `score_arrays` does.
`parity.md` says how far it is from the model in JAX and in PyTorch, and how large the files are."""

Errors = dict[str, dict[str, Any]]
"""{night: {output: {"max", "mean", "largest"}}}"""


def write_onnx(
    folder: ModelFolder, out: Path, weights: str = "float32", cases: Mapping[str, parity.Signals] | None = None
) -> dict[str, Any]:
    """Writes the ONNX form of a model into a new folder, once it is seen to say the same.

    Args:
      out: appears whole or not at all; an older one there is replaced.
      weights: how matrices are stored, one of `onnx_weights.KINDS`; `LIMIT` holds for float32, and what the others cost
        is measured.
      cases: nights to compare on; those of `parity.nights` unless given.

    Returns:
      What `parity.json` says.

    Raises:
      ModelFolderError: `out` holds something else, a graph is too large, or torch or ONNX is not installed.
      ParityError: the graphs or the twin differ from the model.
    """
    ours = _onnx_module()
    module = twin_module()
    from sleepmami_jax.twin.onnx_graphs import graphs
    from sleepmami_jax.twin.onnx_weights import in_fewer_bits

    if out.exists() and not (out / "sleepmami_onnx.py").exists():
        raise ModelFolderError(f"{out}: exists and is no folder of an ONNX model; choose another place")
    cases = dict(parity.nights(model_slots(folder.config))) if cases is None else cases
    with tempfile.TemporaryDirectory() as place:
        write_files(folder, Path(place))
        twin = module.load(place)
    described = {"format": ours.FORM.name, "version": ours.FORM.version}
    described |= {name: twin.described[name] for name in DESCRIBED}
    exact = graphs(module, twin)
    plain = _bytes(exact)
    model = ours.SleepMaMi(described, plain)
    expected = {name: parity.ours(folder, night, "float32") for name, night in cases.items()}
    of_twin = {name: parity.twins(twin, night) for name, night in cases.items()}
    errors_of_twin, found = against(expected, of_twin), said(model, cases)
    parity.check({"float32": errors_of_twin})
    errors = {"JAX": against(expected, found), "PyTorch": against(of_twin, found)}
    check(errors["JAX"])
    errors["PyTorch, eight hours"] = of_long_night(twin, model)
    check(errors["PyTorch, eight hours"])
    files = _bytes({name: in_fewer_bits(graph, weights, module.FLOAT32) for name, graph in exact.items()})
    report = {
        "limit": LIMIT,
        "weights": weights,
        "bytes": {"float32": _sizes(plain), weights: _sizes(files)},
        "versions": {name: version(name) for name in ("onnx", "onnxruntime", "torch", "jax")},
        "errors": errors,
        "errors_of_the_twin": errors_of_twin,
    }
    if weights != "float32":
        report["loss"] = loss(expected, said(ours.SleepMaMi(described, files), cases), folder)
    described["weights"] = weights
    described["files"] = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    with whole_folder(out) as fresh:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        for name in ours.FILES:
            shutil.copy(FILES / name, fresh / name)
        (fresh / "config.json").write_text(sealed(described), encoding="utf-8")
        numbers = f"It has {sum(np.size(v) for v in folder.params.values()):,} parameters. "
        numbers += f"This is its form for ONNX, matrices stored as {weights}."
        card = readme(folder.config, folder.tasks, folder.thresholds, folder.card, numbers, _USE)
        (fresh / "README.md").write_text(card, encoding="utf-8")
        (fresh / "parity.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (fresh / "parity.md").write_text(table(report), encoding="utf-8")
    return report


def _onnx_module() -> ModuleType:
    """The file that runs the graphs, as it is copied. Raises ModelFolderError where something is not installed."""
    sys.path.insert(0, str(FILES))
    try:
        importlib.import_module("onnx")
        return importlib.import_module("sleepmami_onnx")
    except ModuleNotFoundError as error:
        raise ModelFolderError(f"{error.name} is not installed; `pip install sleepmami[onnx]` brings it") from error
    finally:
        sys.path.remove(str(FILES))


def _bytes(graphs: Mapping[str, Any]) -> dict[str, bytes]:
    for name, graph in graphs.items():
        if graph.ByteSize() > LARGEST_BYTES:
            raise ModelFolderError(f"{name}: {graph.ByteSize() / 2**30:.1f} GiB; a file of ONNX holds at most 2")
    return {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}


def _sizes(files: Mapping[str, bytes]) -> dict[str, int]:
    return {name: len(data) for name, data in files.items()}


def said(model: Any, cases: Mapping[str, parity.Signals]) -> dict[str, dict[str, np.ndarray]]:
    """What the graphs give for each night, named and shaped as in `parity.ours`."""
    found, names = {}, {task["name"] for task in model.described["tasks"]}
    for night, arrays in cases.items():
        tokens, ok = model.micro(arrays)
        outputs = {f"logits {name}" if name in names else name: v for name, v in model.macro(tokens, ok).items()}
        found[night] = {name: value[None] for name, value in ({"tokens": tokens} | outputs).items()}
    return found


def against(expected: Mapping[str, Mapping], found: Mapping[str, Mapping]) -> Errors:
    """How far `found` is from `expected`, each {night: {output: array}}."""
    return {
        night: {name: parity.difference(expected[night][name], value) for name, value in outputs.items()}
        for night, outputs in found.items()
    }


def of_long_night(twin: Any, model: Any) -> Errors:
    """How far the graphs are from the twin on eight hours of random tokens, of which a tenth is not there."""
    import torch

    rng, facts = np.random.default_rng(0), list(twin.modalities.values())
    ok = rng.random((LONG_EPOCHS, facts[-1]["span"].stop)) > 0.1
    width = twin.described["model"]["micro"]["dim"] + twin.measured
    tokens = rng.standard_normal((*ok.shape, width)).astype(np.float32) * ok[..., None]
    with torch.no_grad():
        expected = twin(torch.from_numpy(tokens)[None], torch.from_numpy(ok)[None])
    return {
        "random tokens": {n: parity.difference(expected[n][0].numpy(), v) for n, v in model.macro(tokens, ok).items()}
    }


def check(errors: Errors) -> None:
    """Raises ParityError where a difference is larger than `LIMIT`, or not a number."""
    for night, outputs in errors.items():
        for name, off in outputs.items():
            if not off["max"] <= LIMIT:
                raise parity.ParityError(
                    f"{name} of the night '{night}' differs by {off['max']:.2g} in ONNX, expected at most {LIMIT:g}: "
                    "the graphs are not the model, and nothing was written"
                )


def worst(errors: Errors) -> dict[str, dict[str, float]]:
    """{output: {"max", "mean", "largest"}}, the worst of all nights."""
    first = next(iter(errors.values()))
    return {
        name: {what: max(night[name][what] for night in errors.values()) for what in off} for name, off in first.items()
    }


def largest(errors: Errors) -> float:
    """The largest absolute difference of all nights and outputs."""
    return max(off["max"] for off in worst(errors).values())


def loss(expected: Mapping[str, Mapping], found: Mapping[str, Mapping], folder: ModelFolder) -> dict[str, Any]:
    """What fewer bits cost.

    Returns:
      "errors", as of `against`, and "stages_changed", of each night the share of epochs whose most probable stage is
      another one; None for a model without stages.
    """
    changed = None
    if any(task.kind is TaskKind.STAGES for task in folder.tasks):
        name = "logits stages"
        changed = {
            night: float((outputs[name].argmax(-1) != found[night][name].argmax(-1)).mean())
            for night, outputs in expected.items()
        }
    return {"errors": against(expected, found), "stages_changed": changed}


def table(report: Mapping[str, Any]) -> str:
    """`parity.md`."""
    jax, torch = (worst(report["errors"][name]) for name in ("JAX", "PyTorch"))
    twin = worst(report["errors_of_the_twin"])
    lines = [
        "# The model in ONNX beside those in JAX and PyTorch",
        "",
        f"Absolute differences in float32, the worst over the nights {'; '.join(report['errors']['JAX'])}. ONNX may "
        f"differ from JAX by {LIMIT:g} at most. {', '.join(f'{k} {v}' for k, v in report['versions'].items())}, on the "
        f"CPU. On eight hours of random tokens ONNX differs from PyTorch by "
        f"{largest(report['errors']['PyTorch, eight hours']):.1e} at most.",
        "",
        "| output | largest number | ONNX - JAX max | mean | ONNX - PyTorch max | PyTorch - JAX max |",
        "|---|---|---|---|---|---|",
    ]
    for name, off in jax.items():
        numbers = " | ".join(f"{v:.1e}" for v in (off["max"], off["mean"], torch[name]["max"], twin[name]["max"]))
        lines.append(f"| {name} | {off['largest']:.3g} | {numbers} |")
    lines += ["", "| matrices | micro.onnx | macro.onnx |", "|---|---|---|"]
    for kind, sizes in report["bytes"].items():
        lines.append(f"| {kind} | {sizes['micro.onnx']:,} bytes | {sizes['macro.onnx']:,} bytes |")
    if "loss" in report:
        lines += ["", *_loss_table(report)]
    return "\n".join(lines) + "\n"


def _loss_table(report: Mapping[str, Any]) -> list[str]:
    found = report["loss"]
    lines = [
        f"## What {report['weights']} costs",
        "",
        f"This folder's matrices are {report['weights']}. Absolute differences from the model in JAX, in float32:",
        "",
        "| output | largest number | max | mean |",
        "|---|---|---|---|",
    ]
    for name, off in worst(found["errors"]).items():
        lines.append(f"| {name} | {off['largest']:.3g} | {off['max']:.1e} | {off['mean']:.1e} |")
    if found["stages_changed"] is not None:
        lines += ["", "| night | epochs whose most probable stage changes |", "|---|---|"]
        lines += [f"| {night} | {100 * share:.1f} % |" for night, share in found["stages_changed"].items()]
    return lines
