"""`sleepmami population`."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from data_pipeline.population.file import POPULATION, read_population
from sleepmami_jax import cli
from tests.support.populations import prepared


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("base"), range(12))


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.run_command(cli.parse(["sleepmami", "population", *map(str, arguments)]))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command(base, tmp_path, capsys):
    code, out, _ = run(capsys, base)
    assert code == 0 and "12 nights of 12 people" in out and "12 x 256" in out and "F 6, M 6" in out
    assert json.loads(run(capsys, base, "--json")[1]) == json.loads(json.dumps(asdict(read_population(base))))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"card": {"population": asdict(read_population(base))}}))
    other = prepared(tmp_path, range(12), slots=("C3", "C4", "E1", "SPO2"))
    code, out, _ = run(capsys, model, other / POPULATION)
    assert code == 0 and "nights with C4" in out and "+100 points" in out and "nights with any RESP" in out
    code, out, _ = run(capsys, model, other, "--json")
    assert code == 0 and {d["what"] for d in json.loads(out) if d["matters"]} == {
        "nights with C4",
        "nights with any RESP",
    }


def test_what_is_no_card_is_refused(tmp_path, capsys):
    path = tmp_path / "card.json"
    path.write_text("[")
    for wrong in (path, tmp_path / "nowhere"):
        code, _, err = run(capsys, wrong)
        assert code == 1 and wrong.name in err
