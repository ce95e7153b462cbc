"""Where the time of a run went."""

from __future__ import annotations

import pytest

from sleepmami_jax.run.journal import Journal
from sleepmami_jax.training import throughput
from sleepmami_jax.training.throughput import WINDOW, Stopwatch, goodput, summary, tokens_of_example
from tests.support.toy import lines


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
        at(38, "validated", step=100, validation_s=2),
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
        "validation_s": 2,
        "save_s": 3,
        "lost_s": 12,  # steps 51-100, and 2 s of which no line tells
        "other_s": 3,
    }
    assert goodput(first)["lost_s"] == 0
    # the next one went on from 100, and the one after it, for that checkpoint was damaged, from 50
    again = [at(50, "start"), at(51, "resumed", step=100, lost_steps=0, written=36.0)]
    assert goodput(first + again)["lost_s"] == 0
    assert goodput(first + again + second)["lost_s"] == 10
    assert goodput(first[:1])["goodput"] == 0


def test_a_window_gives_rates_and_the_share_of_the_peak(toy_experiment, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throughput, "step_flops", lambda experiment: 3e9)
    monkeypatch.setattr(throughput, "peak_flops", lambda kind: 1e10)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    journal = Journal(tmp_path)
    journal.clock("start")
    watch = Stopwatch(journal, toy_experiment, batch=16, devices=2)

    def pass_time(seconds, then, *arguments):
        now[0] += seconds
        then(*arguments)

    pass_time(1, watch.lap, "data")
    pass_time(5, watch.compiled)
    for step in range(2, WINDOW + 1):
        pass_time(0.1, watch.lap, "data")
        pass_time(0.25, watch.lap, "step")
        pass_time(10.05 if step == 7 else 0.05, watch.stepped, step)
    pass_time(3, watch.validated, WINDOW)
    pass_time(2, watch.saved, WINDOW)
    compiled, window, validated, saved = lines(tmp_path / "clock.jsonl")[1:]
    assert (compiled["data_s"], compiled["compile_s"]) == (1, 5)
    assert (window["step"], window["steps"], validated["validation_s"], saved["save_s"]) == (50, 49, 3, 2)
    assert window["step_median_s"] == pytest.approx(0.3)
    total = 49 * 0.4 + 10
    assert window["data_share"] == pytest.approx(4.9 / total, abs=1e-4)
    assert window["examples_per_s"] == pytest.approx(49 * 16 / total, rel=1e-3)
    tokens = tokens_of_example(toy_experiment)
    assert tokens == sum(30 // s for s in (3, 10))
    assert window["tokens_per_s"] == pytest.approx(49 * 16 * tokens / total, rel=1e-3)
    assert window["mfu"] == pytest.approx(3e9 / 0.3 / (2 * 1e10), rel=1e-3)
    assert "0.3 s a step" in summary("toy", journal.clock_events())
    assert "MFU 50.0%" in summary("toy", journal.clock_events())
