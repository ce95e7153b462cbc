"""What the documentation says is done here literally."""

import re
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_pipeline.shards.manifest import read_manifest
from sleepmami_jax.cli import parse, run_command

DOCS = Path(__file__).parents[1] / "docs"


def python_block(page: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)
    return block


@pytest.fixture
def studies(tmp_path):
    """The folder that docs/data.md describes: one person, two nights of two minutes."""
    folder = tmp_path / "studies"
    (folder / "A017").mkdir(parents=True)
    (folder / "people.csv").write_text("id;age;gender;weight_kg;height_cm\nA017;52;female;68;170\n")
    for night in ("night1", "night2"):
        wave = 30 * np.sin(np.arange(128 * 120) / 3)
        signal = edfio.EdfSignal(wave, 128, label="C4-M1", physical_dimension="uV", physical_range=(-200, 200))
        edfio.Edf([signal]).write(folder / "A017" / f"{night}.edf")
        (folder / "A017" / f"{night}_stages.csv").write_text("onset_s,duration_s,stage\n0,60,W\n60,60,N2\n")
        (folder / "A017" / f"{night}_events.csv").write_text("onset_s,duration_s,type\n70,12,Hypopnea\n")
    return folder


def test_a_cohort_of_ones_own(studies, tmp_path, monkeypatch):
    block = python_block("data.md")
    assert len([line for line in block.splitlines() if line.strip()]) <= 32
    monkeypatch.chdir(tmp_path)
    Path("our_lab.py").write_text(block)
    command = "prepare studies --cohort our_lab.py --out shards --workers 1"
    assert f"sleepmami {command.removesuffix(' --workers 1')}" in (DOCS / "data.md").read_text()
    assert run_command(parse(["sleepmami", *command.split()])) == 0
    nights = read_manifest(Path("shards")).nights
    assert [n.night_id for n in nights] == ["A017-night1", "A017-night2"]
    assert len({n.split for n in nights}) == 1
    for night in nights:
        assert (night.subject_id, night.site, night.cohort) == ("A017", "our-lab", "our_lab")
        person = night.demographics
        assert (person.age_years, person.sex, person.bmi) == (52, "F", 23.5)
        assert night.stages == "0022" and night.event_counts == {"hypopnea": 1}
        assert [c.slot for c in night.channels] == ["C4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such adapter file"),
        ("x = 1", "defines find_nights"),
        ("def find_nights(inputs):\n    return {}['A018']\n", "lab.py, line 2: KeyError: 'A018'"),
        ("def find_nights(inputs):\n    return []\n", "gave no list of Source"),
    ],
)
def test_an_adapter_that_is_none(studies, tmp_path, capsys, text, message):
    adapter = tmp_path / "lab.py"
    if text:
        adapter.write_text(text)
    arguments = ["prepare", str(studies), "--cohort", str(adapter), "--out", str(tmp_path / "shards")]
    assert run_command(parse(["sleepmami", *arguments])) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "shards").exists()
