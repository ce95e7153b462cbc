"""The twin's folder as transformers loads, saves and refuses it."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sleepmami_jax.twin.folder import read_twin, twin_module
from tests.support import twins

torch = pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
transformers = pytest.importorskip("transformers", reason="needs `pip install transformers`")

NIGHT = {"C4-M1": (20 * np.random.default_rng(0).standard_normal(256 * 100), 256.0), "SPO2": (np.full(100, 95.0), 1.0)}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A folder whose name is no name of a module."""
    return twins.write_unmeasured(twins.tiny_folder(), tmp_path_factory.mktemp("twins") / "twin.v-1")


@pytest.fixture(scope="module")
def auto(tmp_path_factory):
    with twins.automodel(tmp_path_factory.mktemp("modules")) as from_pretrained:
        yield from_pretrained


def assert_same(found, expected):
    """Weights, and what no file has."""
    for of_it in ("state_dict", "named_buffers"):
        ours, theirs = (dict(getattr(model, of_it)()) for model in (found, expected))
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name


def test_it_is_the_same_model_and_scores_the_same(auto, twin):
    found, expected = auto(twin), twin_module().load(twin)
    assert isinstance(found, transformers.PreTrainedModel) and not found.training
    assert_same(found, expected)
    said, wanted = (model.score_arrays(NIGHT) for model in (found, expected))
    np.testing.assert_array_equal(said["vector"], wanted["vector"])
    np.testing.assert_array_equal(said["stages"], wanted["stages"])


def test_what_it_saves_is_loaded_by_all_and_comes_home(auto, twin, tmp_path):
    model = auto(twin)
    with torch.no_grad():
        model.heads["stages"].bias += 1
    model.save_pretrained(tmp_path / "tuned")
    assert_same(twin_module().load(tmp_path / "tuned"), model)
    assert_same(auto(tmp_path / "tuned"), model)
    home = read_twin(tmp_path / "tuned")
    np.testing.assert_array_equal(home.params["heads/stages/bias"], read_twin(twin).params["heads/stages/bias"] + 1)
    assert home.card["training"][-1]["objective"] == "PyTorch"


def test_what_was_not_trained_comes_home_bit_for_bit(auto, twin, tmp_path):
    auto(twin).save_pretrained(tmp_path / "saved")
    assert read_twin(tmp_path / "saved").digest() == read_twin(twin).digest()


def test_bfloat16_leaves_the_same_weights_whole_and_is_saved_as_float32(auto, twin, tmp_path):
    model = auto(twin, dtype=torch.bfloat16)
    assert_same(model, twin_module().load(twin).in_bfloat16())
    model.save_pretrained(tmp_path / "saved")
    assert {value.dtype for value in load_file(tmp_path / "saved" / "model.safetensors").values()} == {np.dtype("f4")}
    assert_same(auto(tmp_path / "saved", dtype=torch.bfloat16), model)


def test_weights_that_do_not_belong_there_are_refused(auto, twin, tmp_path):
    folder = shutil.copytree(twin, tmp_path / "twin")
    weights = load_file(twin / "model.safetensors")
    save_file(weights | {"heads.stages.bias": weights["heads.stages.bias"] + 1}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is not the file that config\.json describes"):
        auto(folder)
    del weights["heads.stages.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 weights do not fit its config\.json, first heads\.stages\.bias"):
        auto(folder)


def test_a_description_that_was_changed_by_hand_is_refused(auto, twin, tmp_path):
    folder = shutil.copytree(twin, tmp_path / "twin")
    described = json.loads((folder / "config.json").read_text())
    described["thresholds"]["arousal"] = 0.4
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="was changed after it was written"):
        auto(folder)
