"""A model folder: whole, cut, damaged and of another kind."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save

from sleepmami_jax.config import Finetuning
from sleepmami_jax.export import folder as module
from sleepmami_jax.export.description import sealed
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError, load_model, save_model


@pytest.fixture
def folder(tiny, model):
    facts = {"steps": 5, "seed": 0, "nights": 3, "subjects": 2, "hours": 24.0, "cohorts": ["simulated"], "sites": []}
    card = {"training": [{"name": "micro", "objective": "MicroPretraining", **facts}]}
    thresholds = {"breathing": 0.25, "arousal": 0.5}
    return ModelFolder(tiny, model[1], Finetuning().tasks, thresholds, card)


@pytest.fixture
def saved(folder, tmp_path):
    save_model(folder, tmp_path / "model")
    return tmp_path / "model"


def edit(path, change):
    """Apply `change` to config.json, and seal it again."""
    described = json.loads((path / "config.json").read_text())
    change(described)
    (path / "config.json").write_text(sealed(described))


def put_weights(path, params):
    """Other weights, with the checksum that belongs to them."""
    data = save(params)
    (path / "model.safetensors").write_bytes(data)
    edit(path, lambda d: d.update(weights_sha256=hashlib.sha256(data).hexdigest()))


def assert_is(found, folder):
    assert (found.config, found.tasks, found.thresholds, found.card) == (
        folder.config,
        folder.tasks,
        folder.thresholds,
        folder.card,
    )
    assert found.params.keys() == folder.params.keys()
    for name, value in folder.params.items():
        assert found.params[name].dtype == value.dtype
        np.testing.assert_array_equal(found.params[name], value, err_msg=name)


def test_a_model_comes_back_bit_for_bit(folder, saved):
    assert_is(load_model(saved), folder)
    assert_is(load_model(str(saved)), folder)
    assert load_model(saved).digest() == folder.digest()
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_the_same_model_makes_the_same_bytes(folder, saved, tmp_path):
    backwards = dict(reversed({n: jnp.asarray(v) for n, v in folder.params.items()}.items()))
    save_model(replace(folder, params=backwards), tmp_path / "again")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    changed = folder.params | {"heads/stages/bias": folder.params["heads/stages/bias"] + 1}
    assert replace(folder, params=changed).digest() != folder.digest()


def test_half_precision_halves_the_matrices_and_keeps_the_rest(folder, saved, tmp_path):
    half = folder.halved()
    save_model(half, tmp_path / "half")
    stored = load_file(tmp_path / "half" / "model.safetensors")
    for name, value in folder.params.items():
        assert stored[name].dtype == (np.float16 if value.ndim > 1 else np.float32), name
        np.testing.assert_allclose(stored[name], value, rtol=2**-11, atol=2**-24, err_msg=name)
    assert {n.rsplit("/", 1)[-1] for n, v in stored.items() if v.dtype == np.float32} >= {"a_log", "dt_bias", "scale"}
    sizes = [(place / "model.safetensors").stat().st_size for place in (saved, tmp_path / "half")]
    assert sizes[1] < 0.7 * sizes[0]  # the tests' model has many names for few numbers


def test_a_half_model_comes_back_as_float32_and_keeps_its_name(folder, tmp_path):
    half = folder.halved()
    save_model(half, tmp_path / "half")
    found = load_model(tmp_path / "half")
    assert found.half and all(value.dtype == np.float32 for value in found.params.values())
    assert_is(found, half)
    stored = (tmp_path / "half" / "model.safetensors").read_bytes()
    assert half.digest() == found.digest() == hashlib.sha256(stored).hexdigest() != folder.digest()
    save_model(found, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == stored
    assert found.halved().digest() == found.digest()


def test_what_half_precision_cannot_say_is_refused(folder):
    name = next(n for n, v in folder.params.items() if v.ndim > 1)
    with pytest.raises(ModelFolderError, match=f"{name} has values beyond 65504"):
        replace(folder, params=folder.params | {name: folder.params[name] + 1e5}).halved()


def test_the_bundled_model_is_found_by_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(ModelFolderError, match=r"without a bundled model; name a model folder \(`--model FOLDER`"):
        load_model("bundled")
    save_model(folder, tmp_path / "weights")
    assert_is(load_model("bundled"), folder)
    monkeypatch.chdir(tmp_path)
    save_model(replace(folder, thresholds={}), "./bundled")
    assert load_model("./bundled").thresholds == {}


def test_no_folder_and_missing_files_are_named(saved):
    with pytest.raises(ModelFolderError, match="nowhere: no such model folder; a finished run leaves one"):
        load_model(saved.parent / "nowhere")
    weights = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"model: model\.safetensors is missing"):
        load_model(saved)
    (saved / "model.safetensors").write_bytes(weights)
    (saved / "config.json").unlink()
    with pytest.raises(ModelFolderError, match=r"model: config\.json is missing"):
        load_model(saved)


def test_a_run_given_for_its_model_is_told_where_the_model_is(saved):
    run = saved.parent / "run"
    run.mkdir()
    (saved).rename(run / "model")
    with pytest.raises(ModelFolderError, match=r"run is a run; its model folder is .*run/model"):
        load_model(run)


@pytest.mark.parametrize("place", [3, 40, -1])
def test_one_changed_bit_in_the_weights_is_seen(saved, place):
    weights = bytearray((saved / "model.safetensors").read_bytes())
    weights[place] ^= 1
    (saved / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged"):
        load_model(saved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_weights_that_were_cut_are_seen(saved, share):
    weights = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(weights[: int(share * len(weights))])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged"):
        load_model(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"format": "sleepmami-model"}', "\xff", "[" * 10**5])
def test_a_description_that_is_none_is_named(saved, text):
    (saved / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFolderError, match=r"config\.json is damaged or incomplete"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda d: d.update(version=1),
            r"sleepmami-model version 1; this program reads sleepmami-model version 4",
        ),
        (lambda d: d.update(format="other"), r"config\.json: other version 4"),
        (lambda d: d.pop("weights_sha256"), r"config\.json is damaged or incomplete: 'weights_sha256'"),
        (lambda d: d["model"].update(mikro={}), r"model\.mikro: no such field; did you mean 'micro'"),
        (lambda d: d["model"]["micro"].update(dim="16"), r"model\.micro\.dim: expected a whole number, found '16'"),
        (lambda d: d["model"]["micro"].update(heads=0), r"model\.micro\.heads: expected from 1 to 65536, found 0"),
        (lambda d: d["model"]["micro"].update(top_k=9), r"top_k: expected at most experts=3, found 9"),
        (lambda d: d["model"]["micro"].update(dim=10**9), r"model\.micro\.dim: expected from 2 to 65536"),
        (lambda d: d["model"]["macro"].update(levels=10**6, merge=1), r"levels: expected from 0 to 100"),
        (lambda d: d["card"].update(training=[{}]), r"config\.json is damaged or incomplete: "),
        (lambda d: d.update(card=3), r"config\.json is damaged or incomplete: "),
        (lambda d: d["model"]["macro"].update(head_dim=5), r"head_dim: expected a divisor of 32.*, found 5"),
        (
            lambda d: d["model"]["modalities"]["EEG"].update(token_s=7),
            r"config\.json is damaged or incomplete: model\.modalities\.EEG\.token_s: expected a divisor of 30",
        ),
    ],
)
def test_a_description_that_does_not_fit_says_why(saved, change, says):
    edit(saved, change)
    with pytest.raises(ModelFolderError, match=says):
        load_model(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["model"]["micro"].update(heads=1),  # fits the weights, and is another model
        lambda d: d["thresholds"].update(arousal=0.4),
        lambda d: d["card"].update(results="Better than all others."),
    ],
)
def test_what_was_changed_by_hand_is_refused(saved, change):
    described = json.loads((saved / "config.json").read_text())
    change(described)
    (saved / "config.json").write_text(json.dumps(described))
    with pytest.raises(ModelFolderError, match=r"config\.json was changed after it was written"):
        load_model(saved)


def test_a_description_may_be_laid_out_anew(saved, folder):
    described = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(dict(reversed(described.items()))))
    assert_is(load_model(saved), folder)


def test_weights_of_another_shape_are_named(saved, folder):
    edit(saved, lambda d: d["model"]["macro"].update(seconds_dim=24))
    with pytest.raises(ModelFolderError, match=r"do not fit the configuration, first heads/arousal/kernel.*\(24, 1\)"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda p: p.pop("heads/stages/bias"),
            r"1 parameters .* heads/stages/bias: expected shape \(5,\), found None",
        ),
        (lambda p: p["heads/stages/bias"].fill(np.nan), r"heads/stages/bias has values that are no numbers"),
        (
            lambda p: p.update({"heads/stages/bias": np.zeros(5, np.int32)}),
            r"heads/stages/bias has int32; expected finite float32 or float16",
        ),
        (lambda p: p.update(novelty=np.zeros(2, np.float32)), r"novelty: expected shape None, found \(2,\)"),
        (
            lambda p: p.update({"heads/stages/bias": np.zeros(4, np.float32)}),
            r"heads/stages/bias: expected shape \(5,\), found \(4,\)",
        ),
    ],
)
def test_weights_that_are_not_of_this_configuration_are_named(saved, change, says):
    params = load_file(saved / "model.safetensors")
    change(params)
    put_weights(saved, params)
    with pytest.raises(ModelFolderError, match=says):
        load_model(saved)


def test_a_newer_model_replaces_an_older_one(folder, saved):
    newer = replace(folder, thresholds={"breathing": 0.75})
    save_model(newer, saved)
    assert_is(load_model(saved), newer)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_not_overwritten(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(ModelFolderError, match="exists and is not a model folder"):
        save_model(folder, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("method", ["rename", "write_text", "write_bytes"])
@pytest.mark.parametrize("older", [True, False])
def test_a_save_that_breaks_off_leaves_nothing_half_written(folder, tmp_path, monkeypatch, method, older):
    path = tmp_path / "model"
    if older:
        save_model(folder, path)
    real = getattr(Path, method)

    def breaks_once(self, *arguments):
        if method == "rename" and arguments[0] != path:
            return real(self, *arguments)
        monkeypatch.undo()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, method, breaks_once)
    with pytest.raises(OSError, match="no space left"):
        save_model(replace(folder, thresholds={}), path)
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if older else [])
    if older:
        assert_is(load_model(path), folder)
