"""Folders in buckets; runs that live in one are in `training/test_loop.py`."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from sleepmami_jax.commands import sweep
from sleepmami_jax.config import ConfigError, DataConfig, Experiment, Finetuning, MacroPretraining
from sleepmami_jax.data.frozen import embeddings_folder
from sleepmami_jax.export.folder import ModelFolder, ModelFolderError, load_model, save_model
from sleepmami_jax.run.checkpoint import CheckpointError, Checkpoints
from sleepmami_jax.run.places import check_bucket, folder_at, in_bucket


def test_a_bucket_is_recognised_however_it_is_written(bucket):
    for place in ("gs://nights/runs/a", Path("gs://nights/runs/a"), Path("gs://nights") / "runs" / "a"):
        assert in_bucket(place)
        assert str(folder_at(place)) == "gs://nights/runs/a"
    assert str(folder_at("runs/a")) == "runs/a" and not in_bucket("runs/gs:/a")


@pytest.mark.parametrize("place", ["s3://nights/runs", Path("s3://nights/runs")])
def test_another_store_is_refused(place):
    with pytest.raises(ConfigError, match="expected a folder, or gs://bucket/folder, found s3:/"):
        folder_at(place)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs://nights/runs: gcsfs is not .*`pip install -e \.\[gcs\]`"):
        folder_at("gs://nights/runs")


def test_a_bucket_that_is_not_there_is_named(bucket):
    check_bucket(folder_at(f"gs://{bucket.name}/runs"))
    with pytest.raises(ConfigError, match=r"gs://absent/runs: bucket 'absent' cannot be used .*404"):
        check_bucket(folder_at("gs://absent/runs"))


def test_a_checkpoint_that_cannot_be_written_is_named(bucket, monkeypatch):
    checkpoints = Checkpoints(folder_at(f"gs://{bucket.name}/refused"))
    monkeypatch.setattr(bucket, "refuses", True)
    with pytest.raises(CheckpointError, match=r"(?s)gs://.*/refused: a checkpoint .*not allowed to write"):
        checkpoints.save(1, {"x": jnp.arange(3)}, {})
        checkpoints.wait()


def test_a_sweep_in_a_bucket_is_refused():
    with pytest.raises(ConfigError, match=r"--workdir: a sweep, .*lives on a disk"):
        sweep(Namespace(config=Path("absent.py"), workdir=Path("gs://nights/sweeps")))


def test_micro_tokens_stay_on_a_disk(bucket, tmp_path):
    run = folder_at(f"gs://{bucket.name}/runs/macro")
    experiment = Experiment("macro", MacroPretraining())
    for data in (DataConfig(), DataConfig(embeddings=f"gs://{bucket.name}/tokens")):
        with pytest.raises(ConfigError, match=r"data\.embeddings: .*cannot be kept in gs://"):
            embeddings_folder(replace(experiment, data=data), run)
    on_disk = replace(experiment, data=DataConfig(embeddings=str(tmp_path)))
    assert embeddings_folder(on_disk, run) == tmp_path


def test_a_model_in_a_bucket_is_used_whole_or_not_at_all(bucket, tiny, model, monkeypatch):
    folder = ModelFolder(
        tiny, model[1], Finetuning().tasks, {"arousal": 0.4}, {"training": [], "population": {}}
    )
    place = folder_at(f"gs://{bucket.name}/models/a")
    save_model(folder, place)
    found = load_model(place)
    assert (found.config, found.thresholds, found.card) == (folder.config, folder.thresholds, folder.card)
    for name in model[1]:
        np.testing.assert_array_equal(found.params[name], model[1][name])

    # another in its place, killed before the second of its files; and the same where there was none
    other = replace(folder, params={name: value + 1 for name, value in model[1].items()})
    for here, refusal in ((place, "checksum"), (place.with_name("b"), "is missing")):
        write, begun = type(here).open, []

        def killed(path, mode="r", write=write, begun=begun):
            if "w" in mode:
                begun.append(path)
                if len(begun) == 2:
                    raise KeyboardInterrupt
            return write(path, mode)

        with monkeypatch.context() as kill, pytest.raises(KeyboardInterrupt):
            kill.setattr(type(here), "open", killed)
            save_model(other, here)
        with pytest.raises(ModelFolderError, match=refusal):
            load_model(here)
        save_model(other, here)
        assert load_model(here).digest() == other.digest()
