"""A model beside several people who scored the same nights."""

import json
import re

import numpy as np
import pytest

from sleepmami_jax.evaluation.scorers import measure_scorers, read_scorers
from sleepmami_jax.evaluation.table import metrics_table
from tests.support.scored import MODEL, scored_night


@pytest.fixture
def folders(tmp_path):
    """Four scorers of five people's nights: three say what is true, the last takes each fifth epoch for W."""
    for name in ("ann", "bob", "cy", "dan"):
        (tmp_path / name).mkdir()
        for place in range(0, 10, 2):
            stages = scored_night(place).human_stages.tolist()
            stages = [0 if name == "dan" and e % 5 == 1 else code for e, code in enumerate(stages)]
            (tmp_path / name / f"n{place}.json").write_text(json.dumps(stages))
    return [tmp_path / name for name in ("ann", "bob", "cy", "dan")]


def test_each_person_and_the_model_beside_the_same_others(folders):
    nights = read_scorers(folders, [scored_night(place, wrong=place) for place in range(11)])
    assert [n.night.entry.night_id for n in nights] == ["n0", "n2", "n4", "n6", "n8"]
    stages = measure_scorers(MODEL, [f.name for f in folders], nights)["stages"]
    ann, dan = stages["scorers"][0], stages["scorers"][3]
    assert ann["person"]["kappa"] == ann["person"]["soft_agreement"] == 1
    assert dan["person"]["accuracy"] == dan["person"]["soft_agreement"] == 0.8
    assert ann["model"]["accuracy"] == dan["model"]["accuracy"] == pytest.approx(1 - 20 / 200)
    assert dan["difference"]["accuracy"] == pytest.approx(0.1) and ann["difference"]["accuracy"] == pytest.approx(-0.1)
    lower, upper = ann["difference"]["interval"]["accuracy"]
    assert lower < -0.1 < upper <= 0
    printed = metrics_table({"scorers": {"stages": stages}}, ())
    assert re.search(r"Stages, κ, 5 nights +person +this model +difference\nann +1\.00 ", printed)
    assert stages["consensus"]["accuracy"] == pytest.approx(0.9) and stages["n_nights"] == 5


def test_events_beside_the_seconds_that_most_marked(tmp_path):
    """Three scorers of seven people; the last marks nothing, so the majority of the first's others is none."""
    nights = [scored_night(2 * place + 1) for place in range(7)]
    rows = {"ann": True, "bob": True, "cy": False}
    for name, marks in rows.items():
        (tmp_path / name).mkdir()
        for night in nights:
            lines = [f"{30 * e},30,{['W', 'N1', 'N2', 'N3', 'REM'][code]}" for e, code in enumerate(night.human_stages)]
            lines += [f"{e.onset_s},{e.duration_s},arousal" for e in night.events if marks and e.kind == "arousal"]
            lines += ["" if marks else "1000,5,arousal"]
            (tmp_path / name / f"{night.entry.night_id}.csv").write_text("onset_s,duration_s,type\n" + "\n".join(lines))
    names = list(rows)
    told = measure_scorers(MODEL, names, read_scorers([tmp_path / name for name in names], nights))["arousal"]
    ann, bob, cy = told["scorers"]
    assert ann["person"]["f1_greedy"] == bob["model"]["f1"] == 0  # of two others one is no majority
    assert cy["model"]["f1_greedy"] == 1 and cy["person"]["f1_greedy"] < 0.3
    assert cy["difference"]["interval"]["f1_greedy"][0] > 0


def test_what_is_wrong_with_the_folders_is_said(folders, tmp_path):
    nights = [scored_night(0)]
    with pytest.raises(ValueError, match="1 folder of scorings; expected one of each scorer"):
        read_scorers(folders[:1], nights)
    with pytest.raises(ValueError, match="nobody: no such folder"):
        read_scorers([*folders, tmp_path / "nobody"], nights)
    with pytest.raises(ValueError, match="no night has a scoring in each of 4 folders"):
        read_scorers(folders, [scored_night(1)])
    (folders[0] / "n0.csv").write_text("onset_s,duration_s,stage\n0,30,W\n")
    with pytest.raises(ValueError, match="two scorings of one night"):
        read_scorers(folders, nights)
    assert np.all(read_scorers(folders[1:], nights)[0].scorings[0].stages == nights[0].human_stages)
