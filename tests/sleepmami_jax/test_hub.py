"""Models on the hub: put there, fetched, pinned, and refused in one line."""

import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from sleepmami_jax import hub as module
from sleepmami_jax.cli import parse, run_command
from sleepmami_jax.export.folder import ModelFolderError, save_model
from sleepmami_jax.hub import Repository, open_model, push, repository
from tests.support import twins
from tests.support.hub import Hub

pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs `pip install -e .[hub]`")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that has nothing yet, asked by who may write there; nothing was fetched before."""
    from huggingface_hub import constants

    served = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", served.url)
    place = served.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", Hub.token)
    monkeypatch.chdir(tmp_path)
    yield served
    served.close()


@pytest.fixture(scope="module")
def tiny_folder():
    return twins.tiny_folder()


@pytest.fixture(scope="module")
def exported(tiny_folder, tmp_path_factory):
    return twins.write_unmeasured(tiny_folder, tmp_path_factory.mktemp("twins") / "twin")


@pytest.fixture
def twin(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "twin")


def tuned(twin, out):
    """The same model, a bit further."""
    from sleepmami_jax.twin.folder import twin_module

    model = twin_module().load(twin)
    model.heads["stages"].bias.data += 1
    model.save(out)
    return out


def test_what_was_put_there_is_loaded_from_there_and_can_be_pinned(hub, twin, tiny_folder, tmp_path):
    first = push(twin, "lab/sleep")
    second = push(tuned(twin, tmp_path / "tuned"), "lab/sleep")
    bias = tiny_folder.params["heads/stages/bias"]
    for place, expected in (("lab/sleep", bias + 1), ("hf:lab/sleep", bias + 1), (f"lab/sleep@{first}", bias)):
        np.testing.assert_array_equal(open_model(place).params["heads/stages/bias"], expected, err_msg=place)
    assert first != second and open_model(f"lab/sleep@{first}").digest() == tiny_folder.digest()
    assert set(hub.asked) == {"config.json", "model.safetensors", "README.md"}


def test_nothing_is_published_but_what_a_twin_is_made_of(hub, twin, exported):
    (twin / "notes.txt").write_text("private")
    (twin / "optimizer.pt").write_bytes(b"large")
    push(twin, "lab/sleep", private=True)
    assert set(hub.repositories["lab/sleep"]["main"]) == {path.name for path in exported.iterdir()}


def test_of_a_model_folder_the_twin_is_published(hub, twin, tiny_folder, tmp_path, monkeypatch):
    save_model(tiny_folder, tmp_path / "model")
    asked = []
    monkeypatch.setattr(
        "sleepmami_jax.twin.folder.write_twin", lambda of, out: asked.append(of.digest()) or shutil.copytree(twin, out)
    )
    assert run_command(parse(["sleepmami", "push", "model", "lab/sleep"])) == 0
    assert asked == [tiny_folder.digest()] == [open_model("lab/sleep").digest()]


def test_what_was_fetched_once_is_there_without_a_network(hub, twin, tiny_folder, monkeypatch):
    push(twin, "lab/sleep")
    open_model("lab/sleep")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://localhost:9")  # nobody answers there
    assert open_model("lab/sleep").digest() == tiny_folder.digest()
    with pytest.raises(ModelFolderError, match=r"lab/other: .* the hub cannot be reached \(offline\?\)$"):
        open_model("lab/other")


def test_what_is_not_there_is_said_in_a_line(hub, twin, monkeypatch, capsys):
    push(twin, "lab/sleep")
    with pytest.raises(ModelFolderError, match=r"^lab/other: neither a folder nor a model on the hub that you may see"):
        open_model("lab/other")
    with pytest.raises(ModelFolderError, match=r"^lab/sleep: no revision 'v9' on the hub$"):
        open_model("lab/sleep@v9")
    assert run_command(parse(["sleepmami", "score", "n.edf", "--model", "hf:lab/other", "--out", "o"])) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(ModelFolderError) as refused:
        push(twin, "lab/sleep")
    assert "\n" not in str(refused.value) and "lab/sleep" in str(refused.value)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ModelFolderError, match="no token to write with; `hf auth login`, or set HF_TOKEN"):
        push(twin, "lab/sleep")


def test_a_run_can_start_from_there(hub, twin, tiny_folder):
    from sleepmami_jax.config import Experiment, Finetuning
    from sleepmami_jax.training.loop import _inputs, _start_model

    commit = push(twin, "lab/sleep")
    experiment = Experiment("one", Finetuning(), model=tiny_folder.config, init=f"lab/sleep@{commit}")
    start = _start_model(experiment)
    assert start.digest() == tiny_folder.digest()
    assert _inputs(experiment, start) == {f"lab/sleep@{commit}": start.digest()}


def test_transformers_loads_it_from_there_if_it_is_whole(hub, twin, tmp_path):
    """The weights that were loaded are those that the description names, whatever the branch holds by then."""
    pytest.importorskip("transformers", reason="needs `pip install transformers`")
    from sleepmami_jax.twin.folder import twin_module

    first, where = push(twin, "lab/sleep"), {"cache_dir": str(tmp_path / "fetched")}
    other = (tuned(twin, tmp_path / "tuned") / "model.safetensors").read_bytes()
    mixed = hub.put("lab/sleep", {"model.safetensors": other})
    with twins.automodel(tmp_path / "modules") as auto:
        model = auto("lab/sleep", revision=first, **where)
        assert model.described == twin_module().load(twin).described
        for revision in ("main", mixed):
            with pytest.raises(ValueError, match=r"^lab/sleep: model\.safetensors is not the file that config\.json"):
                auto("lab/sleep", revision=revision, **where)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelFolderError, match=r"no such model folder here; .* `pip install sleepmami\[hub\]`"):
        open_model("lab/sleep")


def test_a_hostile_repository_is_refused_and_nothing_of_it_runs(hub, twin, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    run = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    files = {"config.json": (twin / "config.json").read_bytes(), "model.safetensors": pickle.dumps(Evil())}
    code = dict.fromkeys(("sleepmami_torch.py", "modeling_sleepmami.py", "../../x.py", "jax/__init__.py"), run)
    hub.put("lab/evil", {**files, **code, "pytorch_model.bin": pickle.dumps(Evil())})
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged"):
        open_model("lab/evil")
    assert not (tmp_path / "ran").exists() and set(hub.asked) <= set(module.READ)


def test_a_folder_here_is_meant_before_a_repository_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repository("demo/model") == Repository("demo/model", None)
    Path("demo/model").mkdir(parents=True)
    assert repository("demo/model") is None and repository("hf:demo/model") == Repository("demo/model", None)
    for folder in ("/a/b", "./a/b", "a/b/c", "bundled", "gs://a/b", "a", "../b"):
        assert repository(folder) is None, folder
    assert repository("a/b@refs/pr/1") == Repository("a/b", "refs/pr/1")
    with pytest.raises(ModelFolderError, match="expected hf:owner/name"):
        repository("hf:a")


def test_the_card_is_one_that_the_hub_takes(hub, twin):
    card = huggingface_hub.ModelCard.load(twin / "README.md")
    card.validate()
    facts = card.data.to_dict()
    assert facts["license"] == "apache-2.0" and facts["library_name"] == "transformers"
    assert facts["pipeline_tag"] == "feature-extraction" and {"sleep", "pytorch"} <= set(facts["tags"])
