"""The twin's folder: it says what the model says, needs nothing of ours, and comes home."""

import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.export.folder import ModelFolder, ModelFolderError
from sleepmami_jax.models.sleepmami import merge, structure
from sleepmami_jax.twin import parity
from sleepmami_jax.twin.folder import read_twin, twin_module, write_twin
from sleepmami_jax.twin.names import to_torch
from tests.conftest import random_model
from tests.support import twins

torch = pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")

FILES = {"README.md", "config.json", "model.safetensors", "parity.json", "parity.md"}
FILES |= {"sleepmami_torch.py", "sleepmami_folder.py", "sleepmami_signals.py", "sleepmami_adapters.py"}
FILES |= {"modeling_sleepmami.py"}


def test_every_layer_agrees(exported, tiny_folder):
    out, errors = exported
    assert {path.name for path in out.iterdir()} == FILES
    assert {*errors} == {"float32", "bfloat16"}
    for night in ("noise", "sensors missing"):
        layers = errors["float32"][night]
        assert {f"logits {task.name}" for task in tiny_folder.tasks} | {"tokens", "vector", "fast"} <= layers.keys()
        assert all(found["max"] <= parity.LIMIT for found in layers.values())
        assert all(found["largest"] > 0.01 for name, found in layers.items() if name.startswith("logits"))
    assert json.loads((out / "parity.json").read_text())["errors"] == errors
    assert "| logits stages |" in (out / "parity.md").read_text()


def test_the_other_mixer_and_one_direction_agree_too(tiny, short_nights, tmp_path):
    """With few sensors and without experts: how those are read is no matter of the mixer's."""
    few = replace(tiny.modalities, EOG=None, EMG=None, ECG=None, RESP=None)
    macro = replace(tiny.macro, mixer="selective", bidirectional=False, levels=2)
    config = replace(tiny, modalities=few, micro=replace(tiny.micro, experts=1), macro=macro)
    folder = ModelFolder(config, random_model(config, twins.HEADS)[1], twins.HEADS)
    nights = {name: {m: night[m] for m in ("EEG", "SPO2")} for name, night in short_nights.items()}
    write_twin(folder, tmp_path / "twin", nights)


def test_a_twin_that_says_something_else_is_not_written(tiny_folder, short_nights, tmp_path, monkeypatch):
    spoiled = to_torch(tiny_folder.params)
    spoiled["macro.norm.weight"] = spoiled["macro.norm.weight"] + np.float32(0.01)
    monkeypatch.setattr("sleepmami_jax.twin.folder.to_torch", lambda params: spoiled)
    with pytest.raises(parity.ParityError, match=r"differs by .* the twin is not the model"):
        write_twin(tiny_folder, tmp_path / "twin", {"noise": short_nights["noise"]})
    assert not list(tmp_path.iterdir())


def test_blocks_side_by_side_say_what_one_after_another_does(unmeasured, short_nights, monkeypatch):
    module, night, threads = twin_module(), short_nights["noise"], torch.get_num_threads()
    monkeypatch.setattr(module, "BLOCK_EPOCHS", 2)
    model = module.load(unmeasured)
    expected = model.tokens_of(night)
    assert expected[0].requires_grad
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            found = model.tokens_of(night)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(found, expected, strict=True):
        assert not one.requires_grad and torch.equal(one, other)


@pytest.mark.parametrize("mixer", ["ssd", "selective"])
def test_a_night_read_in_stretches_says_what_one_read_at_once_does(mixer, monkeypatch):
    module, rng = twin_module(), torch.Generator().manual_seed(0)
    macro = {"mixer": mixer, "bidirectional": True, "state": 4, "head_dim": 8, "chunk": 4}
    block = module.StateSpaceBlock(8, macro)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=rng)
    x, ok = torch.randn(2, 29, 8, generator=rng), torch.rand(2, 29, generator=rng) > 0.2
    expected = block(x, ok)
    monkeypatch.setattr(module, "AT_ONCE", 6)  # the last is shorter, and none is of whole chunks
    torch.testing.assert_close(block(x, ok), expected, rtol=1e-5, atol=1e-5)


def test_gradients_agree(exported, tiny_folder, short_nights):
    night = short_nights["noise"]
    graph, _ = structure(tiny_folder.config, tasks=tiny_folder.tasks)

    def loss(params):
        model = merge(graph, params)
        tokens = model.micro({m: {"signal": s, "usable": u} for m, (s, u) in night.items()})
        out = model(tokens.x[None], tokens.ok[None])
        return jnp.square(out.vector).mean() + sum(jnp.square(v).mean() for v in out.heads.values())

    expected = to_torch({n: np.asarray(g) for n, g in jax.jit(jax.grad(loss))(tiny_folder.params).items()})
    model = twin_module().load(exported[0])
    tokens, ok = model.micro({m: tuple(map(torch.from_numpy, pair)) for m, pair in night.items()})
    out = model(tokens[None], ok[None])
    said = [out["vector"], *(out[task.name] for task in tiny_folder.tasks)]
    sum(v.square().mean() for v in said).backward()
    found = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-5 + 1e-4 * np.abs(value).max(), err_msg=name)


def test_it_needs_neither_jax_nor_this_package(exported, tmp_path):
    twins.score_alone(exported[0], "sleepmami_torch", ("jax", "flax", "scipy", "transformers"), tmp_path)


def test_it_comes_home_bit_for_bit(exported, tiny_folder, tmp_path):
    home = read_twin(exported[0])
    assert home.digest() == tiny_folder.digest()
    assert (home.config, home.tasks, home.card) == (tiny_folder.config, tiny_folder.tasks, tiny_folder.card)
    twin_module().load(exported[0]).save(tmp_path / "saved")
    assert read_twin(tmp_path / "saved").digest() == tiny_folder.digest()


def test_what_was_trained_there_comes_home_and_the_card_says_so(exported, tiny_folder, tmp_path):
    model = twin_module().load(exported[0])
    with torch.no_grad():
        model.heads["stages"].bias += 1
    model.save(tmp_path / "tuned")
    home = read_twin(tmp_path / "tuned")
    changed = tiny_folder.params["heads/stages/bias"] + np.float32(1)
    np.testing.assert_array_equal(home.params["heads/stages/bias"], changed)
    assert home.card["training"][-1]["objective"] == "PyTorch"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_cut_file_is_named(exported, tmp_path, name):
    twin_module().load(exported[0]).save(tmp_path / "twin")
    path = tmp_path / "twin" / name
    path.write_bytes(path.read_bytes()[:100])
    for read, error in ((read_twin, ModelFolderError), (twin_module().load, ValueError)):
        with pytest.raises(error, match=name):
            read(tmp_path / "twin")
    path.unlink()
    for read, error in ((read_twin, ModelFolderError), (twin_module().load, ValueError)):
        with pytest.raises(error, match=f"{name}: no such file"):
            read(tmp_path / "twin")


def test_a_description_that_was_changed_by_hand_is_refused(exported, tmp_path):
    twin_module().load(exported[0]).save(tmp_path / "twin")
    path = tmp_path / "twin" / "config.json"
    described = json.loads(path.read_text())
    described["model"]["micro"]["heads"] = 1
    path.write_text(json.dumps(described))
    for read, error in ((read_twin, ModelFolderError), (twin_module().load, ValueError)):
        with pytest.raises(error, match=r"config\.json was changed after it was written"):
            read(tmp_path / "twin")


def test_weights_of_another_model_of_the_same_shape_are_refused(exported, tmp_path):
    model = twin_module().load(exported[0])
    model.save(tmp_path / "twin")
    with torch.no_grad():
        model.heads["stages"].bias += 1
    model.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", tmp_path / "twin")
    for read, error in ((read_twin, ModelFolderError), (twin_module().load, ValueError)):
        with pytest.raises(error, match=r"model\.safetensors.* not the file that config\.json describes"):
            read(tmp_path / "twin")


@pytest.mark.parametrize(
    ("name", "of"), [("eval", "PyTorch's modules"), ("half", "PyTorch"), ("vector", "the features")]
)
def test_a_task_that_pytorch_has_no_place_for_is_refused(tiny_folder, tmp_path, name, of):
    named = replace(tiny_folder.tasks[1], name=name)
    with pytest.raises(ModelFolderError, match=f"^task '{name}': {of}.* give the task another name$"):
        write_twin(replace(tiny_folder, tasks=(named,)), tmp_path / "twin")


def test_values_that_are_no_numbers_are_not_taken_home(exported, tmp_path):
    model = twin_module().load(exported[0])
    with torch.no_grad():
        model.macro.norm.weight[0] = float("nan")
    model.save(tmp_path / "twin")
    with pytest.raises(ModelFolderError, match="macro/norm/scale has values that are no numbers"):
        read_twin(tmp_path / "twin")


def test_another_folder_is_not_overwritten(tiny_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(ModelFolderError, match="is no folder of a PyTorch model"):
        write_twin(tiny_folder, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_half_precision_travels(tiny_folder, short_nights, tmp_path):
    half = tiny_folder.halved()
    write_twin(half, tmp_path / "twin", short_nights)
    home = read_twin(tmp_path / "twin")
    assert home.half and home.digest() == half.digest()
