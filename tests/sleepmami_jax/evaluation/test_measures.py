"""Every figure pooled, of every night, and of other people; groups of them, and the page."""

import json
import re
from dataclasses import replace

import pytest

from sleepmami_jax.evaluation.measures import compare, measure_compared, measure_trust
from sleepmami_jax.evaluation.page import metrics_page
from sleepmami_jax.evaluation.subgroups import subgroups
from sleepmami_jax.evaluation.table import card_results, metrics_table
from tests.support.scored import MODEL, TASKS, scored_night


@pytest.fixture(scope="module")
def nights():
    """Twelve nights of six people."""
    return [scored_night(place, wrong=place, site="ab"[place >= 10]) for place in range(12)]


@pytest.fixture(scope="module")
def metrics(nights):
    compared = compare(MODEL, nights)
    told = {name: measure_compared(task) for name, task in compared.items()}
    facts = {"split": "test", "n_nights": 12, "n_subjects": 6, "cohorts": ["made"], "channels": ["C4", "THORAX"]}
    return facts | told | {"trust": measure_trust(MODEL, nights), "subgroups": subgroups(compared, nights)}


def test_stages_pooled_and_of_each_night(metrics):
    stages = metrics["stages"]
    assert stages["accuracy"] == pytest.approx(1 - sum(range(12)) / 480)
    assert stages["per_night"]["accuracy"] == pytest.approx([1 - place / 40 for place in range(12)])
    assert stages["mean"]["accuracy"] == pytest.approx(stages["accuracy"])  # nights of equal length
    lower, upper = stages["interval"]["kappa"]
    assert lower < stages["kappa"] < upper
    # 0.8 of what is said: it is wrong in a fifth of cases, or so it says.
    assert stages["calibration"]["ece"] == pytest.approx(abs(0.2 - (1 - stages["accuracy"])), abs=1e-6)


def test_events_and_their_indices(nights, metrics):
    breathing = metrics["breathing"]
    assert (breathing["f1"], breathing["n_reference"]) == (1, sum(range(12)))
    assert breathing["index"]["icc"] > 0.9 and breathing["index_mae"] == breathing["index"]["mae_per_h"]
    assert breathing["per_night"]["f1"][0] is None and breathing["mean"]["f1"] == 1
    pairs = breathing["indices"]["ahi_per_h"]["nights_per_h"]
    assert pairs == sorted(pairs) and len(pairs) == 12
    late = [replace(scored_night(place, late_s=4), read=None) for place in range(1, 8)]
    arousal = measure_compared(compare(MODEL, late)["arousal"])
    assert arousal["onset_late_mean_s"] == arousal["onset_error_mean_s"] == 4
    assert (arousal["f1"], arousal["f1_onset"]["3"], arousal["f1_onset"]["5"]) == (1, 0, 1)
    assert arousal["f1_iou"]["0.1"] == 1 and arousal["f1_iou"]["0.2"] == 0  # 1 s of 9 s
    assert arousal["f1_second"] == pytest.approx(1 / 5)


def test_groups_of_few_people_have_no_figure(metrics):
    rows = {(row["factor"], row["group"]): row for row in metrics["subgroups"]}
    assert [row["factor"] for row in metrics["subgroups"]] == sorted(
        (row["factor"] for row in metrics["subgroups"]), key=["age", "sex", "BMI", "apnea", "site"].index
    )
    everyone = rows["BMI", "18.5 to 25"]
    assert (everyone["n_people"], everyone["n_nights"]) == (6, 12)
    value, lower, upper = everyone["figures"]["stages_kappa"]
    assert value == pytest.approx(metrics["stages"]["kappa"]) and lower < value < upper
    assert everyone["figures"]["breathing_index_mae"][0] == pytest.approx(metrics["breathing"]["index_mae"])
    assert rows["site", "b"]["n_people"] == 1 and rows["site", "b"]["figures"] == {}
    assert rows["sex", "women"]["figures"] == {} and rows["site", "a"]["figures"]


def test_a_card_tells_of_groups_of_enough_people(metrics):
    told = metrics | {"n_nights": 13, "n_subjects": 7, "split": "test", "cohorts": ["lab"]}
    lines = card_results(told, TASKS).splitlines()
    assert lines[0] == "13 nights of 7 people, split test, cohorts lab:"
    (head,) = (line for line in lines if line.startswith("|  | people"))
    groups = {line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in lines[lines.index(head) + 2 :]}
    assert "site a" in groups and not {"site b", "sex women"} & groups.keys()  # of one person, and of a few
    everyone = dict(zip(head.split(" | "), groups["BMI 18.5 to 25"], strict=True))
    assert (everyone["people"], everyone["nights"]) == ("6", "12")
    assert everyone["Stages, κ"] == f"{metrics['stages']['kappa']:.2f}"


def test_the_table_says_how_sure_it_is_and_what_people_reach(metrics):
    table = metrics_table(metrics, TASKS)
    assert re.search(r"Stages, Cohen's κ +0\.\d\d +0\.\d\d to 0\.\d\d", table)
    assert re.search(r"Arousals, F1 by the greedy rule +1\.00 +1\.00 to 1\.00 +0\.546", table)
    assert re.search(r"AHI, ICC\(2,1\) +[01]\.\d\d", table)


def test_the_page_is_whole_and_the_same_each_time(metrics):
    pages = [metrics_page(metrics, TASKS, model="<made>", trained_on="nothing") for _ in range(2)]
    assert pages[0] == pages[1] and len(pages[0]) < 500_000
    assert pages[0].count("<svg") == 7 and "&lt;made&gt;" in pages[0]
    for title in ("Kappa of each night", "Reliability", "Risk and coverage", "Events by overlap", "Bland-Altman, AHI"):
        assert f"<h2>{title}</h2>" in pages[0]
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", pages[0])
    assert metrics_page(json.loads(json.dumps(metrics)), TASKS, model="<made>", trained_on="nothing") == pages[0]
