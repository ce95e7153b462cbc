"""What a run leaves when it is interrupted, watched or fails; on a phase that compiles at once."""

import json
import struct
import sys
import time
from dataclasses import replace

import fsspec
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.prepare.run import PrepareConfig, prepare
from sleepmami_jax.config import (
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    MeshConfig,
    MicroPretraining,
    OptimizerConfig,
)
from sleepmami_jax.data.order import open_nights
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.run.checkpoint import Checkpoints
from sleepmami_jax.run.journal import Journal
from sleepmami_jax.run.places import folder_at
from sleepmami_jax.training import loop, throughput
from sleepmami_jax.training.nonfinite import NonFiniteError
from sleepmami_jax.training.step import example_keys
from sleepmami_jax.training.throughput import PARTS, WINDOW, Stopwatch, goodput, summary, tokens_of_example
from tests.conftest import tiny_config
from tests.support.nights import load_random_night, write_recordings
from tests.support.toy import toy_loss, toy_phase

BATCH, STEPS = 8, 10


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("prepared")
    write_recordings(folder / "recordings", range(2))
    whole = PrepareConfig(val_share=0.0, test_share=0.0)
    prepare([folder / "recordings"], folder / "shards", config=whole, load=load_random_night)
    return Experiment(
        name="toy",
        objective=MicroPretraining(batch=BATCH),
        data=DataConfig(shards=(DataSource(str(folder / "shards")),)),
        model=tiny_config(),
        optimizer=OptimizerConfig(learning_rate=0.1, warmup_steps=1, ema=0.8),
        steps=STEPS,
        save_every=4,
        tensorboard=True,
    )


@pytest.fixture
def train(model, monkeypatch):
    """`train(experiment, workdir, loss=..., stop_at=..., then=...)`: a run.

    A kill comes before the step `stop_at`; `then` is called first.
    """

    def run(experiment, workdir, loss=toy_loss, stop_at=None, then=lambda: None, **options):
        phase = toy_phase(model[1], BATCH, loss)
        if stop_at is not None:
            fetch = type(phase.batches).__next__

            class Killed(type(phase.batches)):
                def __next__(self):
                    if self.get_state()["global_next_index"] == (stop_at - 1) * BATCH:
                        then()
                        raise KeyboardInterrupt
                    return fetch(self)

            phase.batches.__class__ = Killed
        monkeypatch.setattr(loop, "build", lambda *_: phase)
        return loop.train(experiment, workdir, quiet=True, **options)

    return run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def events_of(folder):
    """(step, tag, value) that TensorBoard would show: what comes after a restart replaces what it says it redoes."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # TFRecord: length, its checksum, the record, its checksum
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 12 + size + 4
            if event.session_log.status == SessionLog.START:
                shown = [seen for seen in shown if seen[0] < event.step]
            shown += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return shown


def test_an_interrupted_run_ends_as_an_unbroken_one(experiment, train, tmp_path, model):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(experiment, whole)
    for stop_at in (3, 7):  # before the first checkpoint, and between two
        with pytest.raises(KeyboardInterrupt):
            train(experiment, broken, stop_at=stop_at)
    train(experiment, broken)
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
    weights, others = (load_model(w / "model").params for w in (whole, broken))
    for name in weights:
        np.testing.assert_array_equal(weights[name], others[name], err_msg=name)

    # TensorBoard shows every step once
    metrics = lines(whole / "metrics.jsonl")
    assert [entry.pop("step") for entry in metrics] == list(range(1, STEPS + 1))
    expected = [(i + 1, tag, np.float32(v)) for i, entry in enumerate(metrics) for tag, v in entry.items()]
    for run in (whole, broken):
        shown = [event for event in events_of(run / "tensorboard") if not event[1].startswith("throughput/")]
        assert shown == expected
    steps = {step for step, tag, _ in events_of(broken / "tensorboard") if tag == "throughput/examples_per_s"}
    assert steps == {4, 8, 10}

    # the clock knows of every start, and what was done twice
    events = lines(broken / "clock.jsonl")
    assert [e["lost_steps"] for e in events if e["event"] == "resumed"] == [
        1,
        1,
    ]  # the last one was not fetched
    assert [e["event"] for e in events].count("start") == 3
    (last,) = (e for e in events[-1:] if e["event"] == "goodput")
    assert 0 < last["goodput"] < 1
    assert sum(last[f"{part}_s"] for part in PARTS) == pytest.approx(last["wall_s"], abs=0.05)


def test_a_run_in_a_bucket_that_is_killed_ends_as_one_on_a_disk(experiment, train, tmp_path, bucket, model):
    run = folder_at(f"gs://{bucket.name}/runs/broken")
    committed = "runs/broken/checkpoints/8/commit_success.txt"
    experiment = replace(experiment, init=f"gs://{bucket.name}/models/start")
    save_model(ModelFolder(experiment.model, model[1]), experiment.init)
    left = {}

    def kill():  # of what the bucket holds then, all but the last word on step 8: it is half-written
        while committed not in bucket.objects:
            time.sleep(0.01)
        left.update(bucket.objects)
        del left[committed]

    with pytest.raises(KeyboardInterrupt):
        train(experiment, run, stop_at=10, then=kill)
    bucket.objects = left
    fsspec.filesystem("gcs", finalize_on_close=True).invalidate_cache()  # as in another process
    assert [entry["step"] for entry in lines(run / "metrics.jsonl")] == list(range(1, 9))
    assert train(experiment, run) == run / "model"
    events = lines(run / "clock.jsonl")
    (resumed,) = (e for e in events if e["event"] == "resumed")
    assert (resumed["step"], resumed["lost_steps"]) == (4, 4)
    assert [e["event"] for e in events].count("start") == 2 and events[-1]["event"] == "goodput"
    assert {name.split("/")[3] for name in bucket.objects if "/checkpoints/" in name} == {"8", "10"}

    weights = load_model(run / "model").params
    for name, value in load_model(train(experiment, tmp_path)).params.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "metrics.jsonl").read_bytes()
    shown = [
        [event for event in events_of(w / "tensorboard") if not event[1].startswith("throughput/")]
        for w in (run, tmp_path)
    ]
    assert shown[0] == shown[1]


def test_the_average_is_what_is_exported_and_off_is_off(experiment, train, tmp_path):
    averaged = load_model(train(experiment, tmp_path / "average")).params
    plain = replace(experiment, optimizer=replace(experiment.optimizer, ema=0.0), tensorboard=False)
    last = load_model(train(plain, tmp_path / "plain")).params
    different = {name for name in last if not np.array_equal(last[name], averaged[name])}
    assert different == {"heads/stage/bias"}
    assert not (tmp_path / "plain" / "tensorboard").exists()
    assert (tmp_path / "plain" / "metrics.jsonl").read_bytes() == (
        tmp_path / "average" / "metrics.jsonl"
    ).read_bytes()


def test_tensorboard_that_is_not_installed_is_named(experiment, train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ConfigError, match=r"tensorboard=true: .* `pip install 'sleepmami\[tensorboard\]'`"):
        train(experiment, tmp_path)


def spoilt(night: int, epoch: int):
    """A loss that one epoch of one night makes NaN."""

    def loss(params, batch, keys, axes):
        there = (batch["night"] == night) & (batch["epoch"] == epoch)
        x = jnp.where(there[:, None], jnp.nan, batch["EEG"]["signal"])
        return toy_loss(params, batch | {"EEG": {"signal": x}}, keys, axes)

    return loss


def test_a_night_that_makes_the_loss_no_number_is_named(experiment, train, tmp_path):
    night, step = 1, 6
    epoch = step * BATCH // 2 - 1  # the last row of that step's batch
    with pytest.raises(NonFiniteError) as raised:
        train(experiment, tmp_path, loss=spoilt(night, epoch))
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    night_id = open_nights(experiment.data)[night].night_id
    assert report == {
        "step": step,
        "metrics": ["gradient_norm", "loss", "parameter_norm", "size", "update_norm"],
        "gradients": ["heads/stage", "objective/toy"],
        "examples": [
            {
                "example": step * BATCH - 1,
                "night": night_id,
                "epoch": epoch,
                "inputs": [],
                "alone": "not finite",
            }
        ],
        "more_examples": False,
    }
    for part in (
        f"step {step}: gradient_norm, loss, parameter_norm",
        "nonfinite.json",
        f"look at the data of night {night_id}",
    ):
        assert part in str(raised.value)
    # what was kept is from before, and the run goes on from there once the data are mended
    assert [entry["step"] for entry in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    checkpoints = Checkpoints((tmp_path / "checkpoints").absolute())
    assert [c.step for c in checkpoints._saver.checkpoints] == [4]
    checkpoints.close()
    train(experiment, tmp_path)
    assert len(lines(tmp_path / "metrics.jsonl")) == STEPS


def test_what_chance_made_no_number_is_found_too(experiment, train, tmp_path, model):
    step, row = 3, 5
    unlucky = example_keys(experiment, toy_phase(model[1], BATCH), step - 1)[row]

    def loss(params, batch, keys, axes):
        drawn = jax.vmap(jax.random.bits)(keys) == jax.random.bits(unlucky)
        x = jnp.where(drawn[:, None], jnp.nan, batch["EEG"]["signal"])
        return toy_loss(params, batch | {"EEG": {"signal": x}}, keys, axes)

    with pytest.raises(NonFiniteError, match="step 3"):
        train(experiment, tmp_path, loss=loss)
    (example,) = json.loads((tmp_path / "nonfinite.json").read_text())["examples"]
    assert example["example"] == (step - 1) * BATCH + row


def test_a_step_that_is_no_number_is_not_saved(experiment, train, tmp_path):
    epoch = 4 * BATCH // 2 - 1  # of the fourth batch, after which a checkpoint is due
    with pytest.raises(NonFiniteError, match="step 4"):
        train(replace(experiment, save_every=2), tmp_path, loss=spoilt(0, epoch))
    checkpoints = Checkpoints((tmp_path / "checkpoints").absolute())
    assert [c.step for c in checkpoints._saver.checkpoints] == [2]
    checkpoints.close()


def test_inputs_that_are_no_numbers_are_named(experiment, train, tmp_path, monkeypatch):
    from tests.support.toy import ToyBatches

    fetch = ToyBatches.__next__

    def broken(self):
        batch = fetch(self)
        if self.get_state()["global_next_index"] == 2 * BATCH:
            batch["EEG"]["signal"][[2, 5], 1] = np.inf
        return batch

    monkeypatch.setattr(ToyBatches, "__next__", broken)
    with pytest.raises(NonFiniteError, match="step 2"):
        train(experiment, tmp_path)
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    found = [(e["example"], e["inputs"], e["alone"]) for e in report["examples"]]
    assert found == [(BATCH + row, ["EEG/signal"], "not finite") for row in (2, 5)]


def test_weights_that_are_too_large_are_nobodys_fault(experiment, train, tmp_path):
    wild = replace(experiment, optimizer=replace(experiment.optimizer, learning_rate=1e30))
    with pytest.raises(NonFiniteError, match=r"no example stands out: lower optimizer\.learning_rate"):
        train(wild, tmp_path)
    assert not (tmp_path / "model").exists()
    report = json.loads((tmp_path / "nonfinite.json").read_text())
    assert (report["gradients"], report["examples"]) == ([], [])
    assert "parameter_norm" in report["metrics"]


# The clock


def at(time, event, **values):
    return {"time": time, "event": event, **values}


def test_goodput_counts_every_second_of_every_process_once():
    def window(time, step, steps, data_s, step_s):
        return at(time, "throughput", step=step, steps=steps, data_s=data_s, step_s=step_s)

    first = [
        at(0, "start"),
        at(11, "compiled", init_s=4, data_s=1, compile_s=6),
        window(24, 50, 50, 3, 10),
        at(26, "saved", step=50, save_s=2),
        window(36, 100, 50, 0, 10),  # no checkpoint of step 100 was whole
    ]
    # killed at 40; the machine was gone until 100
    second = [
        at(100, "start"),
        at(102, "resumed", step=50, lost_steps=70, written=40.0),
        at(110, "compiled", init_s=3, data_s=0, compile_s=7),
        window(132, 150, 100, 1, 20),
        at(133, "saved", step=150, save_s=1),
        at(135, "done", steps=150),
    ]
    assert goodput(first + second) == {
        "goodput": 0.4,  # 10 + 20 of 40 + 35
        "wall_s": 75,
        "init_s": 7,
        "compile_s": 13,
        "data_s": 5,
        "step_s": 30,
        "save_s": 3,
        "lost_s": 14,  # steps 51-100, and 4 s of which no line tells
        "other_s": 3,
    }
    assert goodput(first)["lost_s"] == 0
    # the next one went on from 100, and the one after it, for that checkpoint was damaged, from 50
    again = [at(50, "start"), at(51, "resumed", step=100, lost_steps=0, written=36.0)]
    assert goodput(first + again)["lost_s"] == 0
    assert goodput(first + again + second)["lost_s"] == 10
    assert goodput(first[:1])["goodput"] == 0


def test_a_window_gives_rates_and_the_share_of_the_peak(experiment, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throughput, "step_flops", lambda experiment: 3e9)
    monkeypatch.setattr(throughput, "peak_flops", lambda kind: 1e10)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    journal = Journal(tmp_path)
    journal.clock("start")
    watch = Stopwatch(journal, experiment, batch=16, devices=2)

    def pass_time(seconds, then, *arguments):
        now[0] += seconds
        then(*arguments)

    pass_time(1, watch.lap, "data")
    pass_time(5, watch.compiled)
    for step in range(2, WINDOW + 1):
        pass_time(0.1, watch.lap, "data")
        pass_time(0.25, watch.lap, "step")
        pass_time(10.05 if step == 7 else 0.05, watch.stepped, step)
    pass_time(2, watch.saved, WINDOW)
    compiled, window, saved = lines(tmp_path / "clock.jsonl")[1:]
    assert (compiled["data_s"], compiled["compile_s"]) == (1, 5)
    assert (window["step"], window["steps"], saved["save_s"]) == (50, 49, 2)
    assert window["step_median_s"] == pytest.approx(0.3)
    total = 49 * 0.4 + 10
    assert window["data_share"] == pytest.approx(4.9 / total, abs=1e-4)
    assert window["examples_per_s"] == pytest.approx(49 * 16 / total, rel=1e-3)
    tokens = tokens_of_example(experiment)
    assert tokens == sum(30 // s for s in (3, 5, 6, 10, 5, 10))
    assert window["tokens_per_s"] == pytest.approx(49 * 16 * tokens / total, rel=1e-3)
    assert window["mfu"] == pytest.approx(3e9 / 0.3 / (2 * 1e10), rel=1e-3)
    assert "0.3 s a step" in summary("toy", journal.clock_events())
    assert "MFU 50.0%" in summary("toy", journal.clock_events())


def test_a_changed_run_goes_on_only_when_told(train, experiment, tmp_path):
    train(replace(experiment, steps=4), tmp_path)
    longer = replace(experiment, steps=STEPS)
    with pytest.raises(ConfigError, match=r"steps was 4 and is now 10; .*--accept-changes"):
        train(longer, tmp_path)
    train(longer, tmp_path, accept_changes=True)
    changed = [entry for entry in lines(tmp_path / "clock.jsonl") if entry["event"] == "changed"]
    assert [entry["fields"] for entry in changed] == [["steps"]]
    assert [entry["step"] for entry in lines(tmp_path / "metrics.jsonl")] == list(range(1, STEPS + 1))
    train(longer, tmp_path)  # it is the run's own configuration now
    train(replace(longer, mesh=MeshConfig(data=4)), tmp_path)  # another mesh is no other run


def test_a_run_begun_before_there_was_a_field_had_its_default(train, experiment, tmp_path):
    train(experiment, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["accumulate"], config["objective"]["contrast_keys"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    train(experiment, tmp_path)
    few = replace(experiment, objective=replace(experiment.objective, contrast_keys=4))
    with pytest.raises(ConfigError, match=r"objective\.contrast_keys was 0 and is now 4; "):
        train(few, tmp_path)


def test_a_run_that_cannot_begin_leaves_its_folder_free(train, experiment, model, tmp_path):
    with pytest.raises(ValueError, match=r"objective\.batch=8 does not divide"):
        train(replace(experiment, accumulate=3), tmp_path / "run")
    save_model(ModelFolder(experiment.model, model[1]), tmp_path / "start")
    other = replace(experiment.model, projection_dim=2 * experiment.model.projection_dim)
    with pytest.raises(ConfigError, match="another shape"):
        train(replace(experiment, model=other, init=str(tmp_path / "start")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
