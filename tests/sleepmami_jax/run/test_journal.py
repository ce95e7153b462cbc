"""The lines that a run leaves: whole, cut and rewound."""

from __future__ import annotations

import json
import time

import pytest

from sleepmami_jax.run.journal import Journal
from tests.support.toy import limit_lifted_after, steps_in


def test_a_journal_is_one_line_a_step(tmp_path):
    journal = Journal(tmp_path)
    for step in (1, 2):
        journal.metrics(step, {"loss": 0.5 / step})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n'
    journal.clock("saved", seconds=1)
    (entry,) = map(json.loads, (tmp_path / "clock.jsonl").read_text().splitlines())
    assert entry["event"] == "saved"
    assert entry["seconds"] == 1


@pytest.mark.parametrize("tail", ["", '{"step": 4, "lo', '{"step": 4}\n{"step": 5}\n', "\0\0\0"])
def test_rewinding_forgets_later_steps_and_a_cut_line(tmp_path, tail):
    journal = Journal(tmp_path)
    for step in (1, 2, 3):
        journal.metrics(step, {"loss": step})
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + tail)
    journal.rewind(3)
    assert path.read_text() == whole
    journal.rewind(2)
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:2])
    journal.metrics(3, {"loss": 3})
    assert path.read_text() == whole
    journal.rewind(0)
    assert path.read_text() == ""
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_new_run_has_nothing_to_rewind(tmp_path):
    Journal(tmp_path).rewind(0)
    assert not list(tmp_path.iterdir())


def test_a_cut_line_of_the_clock_takes_no_other_with_it(tmp_path):
    (tmp_path / "clock.jsonl").write_text('{"time": 1, "event": "st')
    journal = Journal(tmp_path)
    journal.clock("start")
    assert [event["event"] for event in journal.clock_events()] == ["start"]


def test_a_full_disk_while_writing_metrics_loses_nothing(train, saving, tmp_path):
    train(saving, tmp_path / "whole")
    run = tmp_path / "run"

    def full():
        while steps_in(run / "checkpoints") != ["2", "4"]:
            time.sleep(0.01)
        limit((run / "metrics.jsonl").stat().st_size + 20)

    with (
        limit_lifted_after() as limit,
        pytest.raises(OSError, match=r"run/metrics\.jsonl cannot be .*make space"),
    ):
        train(saving, run, at=6, then=full)
    assert not (run / "metrics.jsonl").read_bytes().endswith(b"\n")  # a line is cut
    train(saving, run)
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
