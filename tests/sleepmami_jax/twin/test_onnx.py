"""The ONNX form: it says what the model says, in any length, needs nothing of ours, and refuses what was changed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError
from sleepmami_jax.twin import parity
from sleepmami_jax.twin.folder import twin_module
from sleepmami_jax.twin.onnx import LIMIT, _onnx_module, write_onnx
from tests.conftest import random_model
from tests.support import twins

for needed in ("torch", "onnxruntime"):
    pytest.importorskip(needed, reason="needs `pip install -e .[onnx]`")
onnx = pytest.importorskip("onnx", reason="needs `pip install -e .[onnx]`")

FILES = {"README.md", "config.json", "micro.onnx", "macro.onnx", "parity.json", "parity.md"}
FILES |= {"sleepmami_onnx.py", "sleepmami_folder.py", "sleepmami_signals.py"}


@pytest.fixture(scope="module")
def written(tiny_folder, short_nights, tmp_path_factory):
    """The folder of int8, and its report; the errors in it are those of float32. And of what it was made: the twin,
    and float32's graphs."""
    from sleepmami_jax.twin import onnx_graphs

    out, made, graphs = tmp_path_factory.mktemp("onnx") / "graphs", [], onnx_graphs.graphs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs, "graphs", lambda module, twin: made.extend((twin, graphs(module, twin))) or made[1])
        report = write_onnx(tiny_folder, out, "int8", short_nights)
    return out, report, tuple(made)


@pytest.fixture(scope="module")
def exact(written):
    """The twin, and the graphs made from it, float32."""
    return written[2]


@pytest.fixture(scope="module")
def model(exact):
    """Those graphs, running."""
    return running(*exact)


def running(twin, graphs):
    return _onnx_module().SleepMaMi(twin.described, {n: g.SerializeToString() for n, g in graphs.items()})


def recorded(seconds: int) -> dict:
    rng = np.random.default_rng(1)
    return {
        "C4-M1": (20 * rng.standard_normal(128 * seconds), 128.0),
        "E1-M2": (20 * rng.standard_normal(64 * seconds), 64.0),
        "SPO2": (np.full(seconds, 95.0), 1.0),
    }


def test_every_output_agrees_and_what_int8_costs_is_told(written, tiny_folder):
    out, report, _ = written
    assert {path.name for path in out.iterdir()} == FILES
    heads = {f"logits {task.name}" for task in tiny_folder.tasks}
    for form in ("JAX", "PyTorch"):
        for outputs in report["errors"][form].values():
            assert outputs.keys() == {"tokens", "vector", "epochs", "seconds", "fast"} | heads
            assert all(off["max"] <= LIMIT for off in outputs.values())
            assert all(off["largest"] > 0.01 for name, off in outputs.items() if name in heads)
    costs = report["loss"]["errors"]["noise"]
    assert all(1e-4 < costs[name]["max"] < 1 for name in heads)
    assert report["loss"]["stages_changed"].keys() == {"noise", "sensors missing"}
    for name, size in report["bytes"]["int8"].items():
        assert size == (out / name).stat().st_size < report["bytes"]["float32"][name]
    assert json.loads((out / "parity.json").read_text()) == report
    assert "| logits stages |" in (out / "parity.md").read_text()


@pytest.mark.parametrize("n_epochs", [1, 7, 64, 65])
def test_a_night_may_have_any_length(exact, model, n_epochs, tiny):
    twin, _ = exact
    night = parity.random_night(model_slots(tiny), n_epochs, seed=n_epochs)
    found = model.macro(*model.micro(night))
    expected = parity.twins(twin, night)
    for name, value in found.items():
        (layer,) = expected.keys() & {name, f"logits {name}"}
        assert value.shape == expected[layer].shape[1:], name
        np.testing.assert_allclose(value, expected[layer][0], atol=LIMIT, err_msg=name)


def test_a_night_of_eight_hours_runs(exact, model):
    twin, _ = exact
    facts = twin.modalities
    tokens = np.zeros((960, list(facts.values())[-1]["span"].stop, 16 + twin.measured), np.float32)
    found = model.macro(tokens, np.ones(tokens.shape[:2], bool))
    assert found["stages"].shape == (960, 5) and found["seconds"].shape[0] == 28800
    assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize(("weights", "most"), [("float32", 1e-4), ("bfloat16", 0.1), ("int8", 0.1)])
def test_arrays_are_scored_as_by_the_twin(exact, weights, most):
    twin, graphs = exact
    from sleepmami_jax.twin.onnx_weights import in_fewer_bits

    fewer = {name: in_fewer_bits(graph, weights, twin_module().FLOAT32) for name, graph in graphs.items()}
    channels = recorded(200)
    expected, found = twin.score_arrays(channels), running(twin, fewer).score_arrays(channels)
    assert found.keys() == expected.keys()
    for name, value in expected["probabilities"].items():
        np.testing.assert_allclose(found["probabilities"][name], value, atol=most, err_msg=name)
    for slot, seconds in expected["usable"].items():
        np.testing.assert_array_equal(found["usable"][slot], seconds)
    if weights == "float32":
        np.testing.assert_array_equal(found["stages"], expected["stages"])
        np.testing.assert_allclose(found["vector"], expected["vector"], atol=most)
        for task, events in expected["events"].items():
            assert [e["onset_s"] for e in found["events"][task]] == [e["onset_s"] for e in events], task


def test_the_other_mixer_and_one_direction_too(tiny, tmp_path):
    from sleepmami_jax.twin.onnx_graphs import graphs

    heads = tuple(task for task in TASKS if task.kind is TaskKind.STAGES)
    config = replace(tiny, macro=replace(tiny.macro, mixer="selective", bidirectional=False, levels=2))
    folder = ModelFolder(config, random_model(config, heads)[1], heads)
    twin = twin_module().load(twins.write_unmeasured(folder, tmp_path / "twin"))
    night = parity.random_night(model_slots(config), 5)
    model = running(twin, graphs(twin_module(), twin))
    found, expected = model.macro(*model.micro(night)), parity.twins(twin, night)
    np.testing.assert_allclose(found["stages"], expected["logits stages"][0], atol=LIMIT)
    np.testing.assert_allclose(found["seconds"], expected["seconds"][0], atol=LIMIT)


def test_graphs_that_say_something_else_are_not_written(tiny_folder, short_nights, tmp_path, monkeypatch, exact):
    spoiled = {name: onnx.ModelProto.FromString(graph.SerializeToString()) for name, graph in exact[1].items()}
    for tensor in spoiled["macro.onnx"].graph.initializer:
        if tensor.name.endswith("heads.stages.bias"):
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + np.float32(0.01), tensor.name)
            )
    monkeypatch.setattr("sleepmami_jax.twin.onnx_graphs.graphs", lambda *_: spoiled)
    with pytest.raises(parity.ParityError, match=r"logits stages .* in ONNX, expected .* nothing was written"):
        write_onnx(tiny_folder, tmp_path / "graphs", cases={"noise": short_nights["noise"]})
    assert not list(tmp_path.iterdir())


def test_it_needs_neither_torch_nor_jax_nor_this_package(written, tmp_path):
    twins.score_alone(written[0], "sleepmami_onnx", ("torch", "jax", "flax", "scipy", "safetensors", "onnx"), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "micro.onnx", "macro.onnx"])
def test_a_missing_cut_or_changed_file_is_named(written, tmp_path, name):
    load = _onnx_module().load
    copy = shutil.copytree(written[0], tmp_path / "graphs")
    whole = (copy / name).read_bytes()
    changed = whole.replace(b"sensors", b"tensors") if name == "config.json" else whole[:-1] + bytes([whole[-1] ^ 1])
    for data in (whole[:100], changed, None):
        (copy / name).unlink() if data is None else (copy / name).write_bytes(data)
        with pytest.raises(ValueError, match=name) as caught:
            load(copy)
        assert "\n" not in str(caught.value)


def test_another_folder_is_not_overwritten(tiny_folder, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ModelFolderError, match="choose another place"):
        write_onnx(tiny_folder, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(("shape", "axis", "scales"), [((8, 5), 0, 8), ((8, 1, 4), 0, 8), ((3, 5, 8), 2, 24)])
def test_int8_is_off_by_half_a_step_of_its_own_channel_at_most(shape, axis, scales):
    from sleepmami_jax.twin.onnx_weights import rounded

    rng = np.random.default_rng(0)
    size = (10.0 ** rng.integers(-3, 3, shape[axis])).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    values = (rng.standard_normal(shape) * size).astype(np.float32)
    whole, scale = rounded(values, axis)
    assert whole.dtype == np.int8
    assert scale.size == scales
    assert (np.abs(whole * scale - values) <= 0.5001 * scale).all()


def test_heads_and_gains_keep_float32(exact):
    from sleepmami_jax.twin.onnx_weights import in_fewer_bits

    for graph in exact[1].values():
        stored = {t.name: t.data_type for t in in_fewer_bits(graph, "int8", twin_module().FLOAT32).graph.initializer}
        whole = [name for name, kind in stored.items() if kind == onnx.TensorProto.INT8]
        assert len(whole) > 10
        assert not [n for n in whole if any(p in n for p in ("heads.", "norm", "A_log", "router", ".wave", ".bias"))]
