"""The card of a model folder: what a reader sees first, and that it says what the model is."""

from dataclasses import replace

import pytest
import yaml

from sleepmami_jax.config import Finetuning
from sleepmami_jax.export.readme import model_name, readme, trained_on

TASKS = Finetuning().tasks
WARNING = "Trained on simulated nights only; it has never seen a recording of a person."


def phase(name, *cohorts, nights=6):
    facts = {"steps": 5, "seed": 3, "subjects": 4, "hours": 48.0, "sites": [], "versions": {"jax": "0.10.2"}}
    return {"name": name, "objective": "Finetuning", "nights": nights, "cohorts": list(cohorts), **facts}


@pytest.fixture
def page(tiny):
    """`page(*phases, **card)`: the card as (front matter, what a reader sees)."""

    def make(*phases, tasks=TASKS, **card):
        thresholds = {"breathing": 0.25, "arousal": 0.5}
        text = readme(tiny, tasks, thresholds, {"training": list(phases), **card}, "It has 9 parameters.")
        _, front, shown = text.split("---\n", 2)
        return yaml.safe_load(front), shown

    return make


def test_the_first_line_warns_of_a_model_of_simulated_nights(page):
    front, shown = page(phase("micro", "simulated"), phase("simulated-1", "simulated"))
    assert shown.strip().splitlines()[0] == WARNING
    assert "Simulated nights are simpler than people" in shown
    assert front["license"] == "apache-2.0" and front["library_name"] == "sleepmami-jax" and "sleep" in front["tags"]


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([phase("micro", "simulated"), phase("heads", "shhs", nights=9)], "up to 9 nights of shhs, simulated"),
        ([], "nothing: its parameters are random"),
    ],
)
def test_another_model_does_not_warn_of_simulation(page, phases, words):
    _, shown = page(*phases)
    assert shown.strip().splitlines()[0] == f"Trained on {words}."
    assert trained_on({"training": phases}) == words and "Simulated nights are simpler" not in shown


def test_it_says_what_is_read_told_trained_and_measured(page):
    _, shown = page(phase("simulated-1", "simulated"), results="| kappa |\n|---|\n| 0.71 |")
    assert "- EEG: C3, C4 (128 Hz)" in shown and "- SPO2: SPO2 (1 Hz)" in shown
    assert "PPG" not in shown  # this model has no such channel
    assert "stages W, N1, N2, N3, REM" in shown and "above a probability of 0.25" in shown
    assert "| simulated-1 | Finetuning | 5 | 3 | 6 | 4 | 48.0 | simulated |" in shown and "jax 0.10.2" in shown
    assert "| kappa |" in shown and "Research use only" in shown and "Apache-2.0" in shown
    assert "sleepmami score night.edf" in shown and "It has 9 parameters." in shown


def test_what_is_not_known_is_not_said(page):
    _, shown = page(tasks=tuple(replace(task, name="own") for task in TASKS if task.name == "arousal"))
    assert "probability" not in shown and "Not at all." in shown and "Nothing is measured yet." in shown
    assert model_name({"training": []}) == "untrained"
