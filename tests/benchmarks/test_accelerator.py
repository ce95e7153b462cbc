"""The benchmark of an accelerator measures something on a CPU too."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("accelerator", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TINY = True
    return module


@pytest.mark.parametrize(("section", "measured"), [("roofs", "tflops"), ("transfers", "epochs_s"), ("ssd", "both_ms")])
def test_a_section_measures(benchmark, section, measured):
    lines = [line for line in benchmark.measure(section) if "skipped" not in line]
    assert lines and lines[0][measured] > 0
    assert lines[0].get("of_peak") is None  # nobody promised anything of a CPU
    text = benchmark.table([{"section": section, "device": "cpu", "jax": "1", **line} for line in lines])
    assert text.startswith("cpu, jax 1\n") and lines[0]["what"] in text


def test_a_section_that_fails_is_said_and_the_rest_goes_on(benchmark, tmp_path, monkeypatch, capsys):
    def run(command, timeout, **_):
        if command[3] == "roofs":
            raise subprocess.TimeoutExpired(command, timeout)
        with (tmp_path / "accelerator.jsonl").open("a") as file:
            file.write(json.dumps({"section": "ssd", "device": "card", "jax": "1", "both_ms": 2.5}) + "\n")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    benchmark.main(tmp_path, 9.0, ["roofs", "ssd"], tiny=False)
    text = (tmp_path / "accelerator.txt").read_text()
    assert text.startswith("card, jax 1") and "not done in 40 s" in text and "both_ms 2.5" in text
    assert capsys.readouterr().out == text
