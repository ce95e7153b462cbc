"""Many nights: each costs itself only, what is done is kept, and all of them are told of."""

import csv
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipeline.load import in_memory
from data_pipeline.tasks import STAGES
from sleepmami_jax.many import night as one
from sleepmami_jax.many import run, table
from sleepmami_jax.many.found import find
from sleepmami_jax.many.index import PAGE
from sleepmami_jax.many.run import JOURNAL, score_many
from sleepmami_jax.scoring.pages import sha256_of
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.score import summarise
from tests.support.recordings import write_edf


class Scorer:
    """Stands for a model: every epoch is N2, and it remembers what it was given."""

    folder = SimpleNamespace(tasks=(STAGES,), reference=None, digest=lambda: "weights")
    thresholds = None  # of no task

    def __init__(self):
        self.given = []
        self.card = {"name": "n2", "version": "1", "trained_on": "nothing"}

    def scored(self, night, **how):
        self.given.append(night.night_id)
        night, n = in_memory(night), night.n_epochs
        probs = np.tile(np.float32([0, 0, 1, 0, 0]), (n, 1))
        prediction = Prediction((STAGES,), {"stages": probs}, np.zeros(2), np.ones(n, bool), {"C4": np.ones(n, bool)})
        return summarise(night, prediction, {}, self.card), night, None


@pytest.fixture
def scorer(monkeypatch):
    scorer = Scorer()
    for module in (one, run):
        monkeypatch.setattr(module, "model_of", lambda place: scorer)
    return scorer


@pytest.fixture
def recordings(tmp_path):
    """Two nights of one name, one with a scoring beside it, and one that is damaged."""
    folder = tmp_path / "in"
    for name, seconds in (("a/n.edf", 60), ("b/n.edf", 90), ("c/x.edf", 120)):
        write_edf(folder / name, {"C4-M1": (100, "uV")}, seconds=seconds)
    (folder / "c/x.csv").write_text("onset_s,duration_s,event\n0,30,N2\n30,30,N2\n60,30,W\n90,30,N2\n")
    (folder / "bad.edf").write_bytes(b"0       ")
    return folder


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_each_night_has_its_folder_and_a_bad_one_costs_itself_only(scorer, recordings, tmp_path):
    out = tmp_path / "out"
    done = score_many([recordings], out)
    assert done.scored == ("a-n", "b-n", "x") and [r.file for r in done.refused] == ["bad.edf"] and done.kept == 0
    rows = {row["night_id"]: row for row in csv.DictReader((out / table.CSV).open())}
    assert rows["bad"]["status"] == "refused" and "header" in rows["bad"]["error"]
    assert rows["x"]["epochs"] == "4" and rows["x"]["agreement_stages_accuracy"] == "0.75"  # scoring was beside it
    assert json.loads((out / "a-n/summary.json").read_text())["night_id"] == "a-n"
    assert not any(path.name.startswith(".") for path in out.iterdir())


def test_what_is_done_is_kept_and_what_is_not_is_done_again(scorer, recordings, tmp_path):
    out = tmp_path / "out"
    score_many([recordings], out)
    whole = contents(out)
    scorer.given.clear()
    assert score_many([recordings], out).kept == 3 and not scorer.given and contents(out) == whole

    (out / "a-n/stages.csv").write_text("half")  # as if somebody had touched it
    shutil.rmtree(out / "x")
    journal = out / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"b-n"', b'"b'))  # as if the disk had been full
    assert score_many([recordings], out).kept == 0 and sorted(scorer.given) == ["a-n", "b-n", "x"]
    assert contents(out) == whole

    scorer.given.clear()
    write_edf(recordings / "a/n.edf", {"C4-M1": (100, "uV")}, seconds=150)
    (recordings / "b/n.edf").touch()  # looks new, and is the same
    score_many([recordings], out)
    assert scorer.given == ["a-n"]
    scorer.given.clear()
    scorer.card["version"] = "2"  # another model
    assert score_many([recordings], out).kept == 0 and len(scorer.given) == 3


def test_a_folder_is_of_its_inputs_alone(scorer, recordings, tmp_path):
    out = tmp_path / "out"
    score_many([recordings], out)
    with pytest.raises(ValueError, match="3 nights that are not among the inputs, such as a-n"):
        score_many([recordings / "bad.edf", recordings / "gone.edf"], out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / table.CSV).write_text("mine")
    with pytest.raises(ValueError, match=r"holds nights.csv, which no run of ours left"):
        score_many([recordings], tmp_path / "mine")


def test_files_lists_and_folders_are_found(recordings):
    (recordings / "list.txt").write_text("# mine\na/n.edf\nodd.dat  # no suffix of ours\n\n")
    found = find([recordings / "list.txt", recordings / "b", recordings / "c" / "gone.edf"])
    named = [("a-n", "n.edf"), ("n", "n.edf"), ("odd", "odd.dat"), ("gone", "gone.edf")]
    assert [(source.night_id, source.recording.name) for source in found] == named
    (recordings / "empty.txt").write_text("# nothing")
    with pytest.raises(ValueError, match="no recording is listed"):
        find([recordings / "empty.txt"])


def test_the_page_leads_to_every_report_and_holds_no_word_of_a_file_as_code(scorer, recordings, tmp_path):
    shutil.copy(recordings / "bad.edf", recordings / "<img src=x onerror=alert(1)>.edf")
    out = tmp_path / "out"
    score_many([recordings], out)
    page = (out / PAGE).read_text()
    links = re.findall(r'href="([^"]+/report.html)"', page)
    assert links == ["a-n/report.html", "b-n/report.html", "x/report.html"]
    assert all((out / link).is_file() for link in links)
    assert "<img" not in page and page.count('<tr data-state="refused"') == 2 and page.count("<svg") == 3
    script = page.partition("<script>")[2].partition("</script>")[0]
    assert f"script-src '{sha256_of(script)}'" in page


def test_the_table_goes_into_a_spreadsheet_and_into_parquet(tmp_path):
    first = {"night_id": "a", "file": "=1+1.edf", "status": "scored", "error": None}
    rows = [
        table.row_of(first, {"reliable": {"stages": True}, "reasons": ["one", "two"], "ahi_per_h": 3, "format": "x"}),
        table.row_of({**first, "night_id": "b"}, {"ahi_per_h": 2.5, "reasons": []}),
    ]
    written = table.write_table(rows, tmp_path)
    assert (tmp_path / table.CSV).read_text().splitlines() == [
        "night_id,file,status,error,reliable_stages,reasons,ahi_per_h",
        "a,'=1+1.edf,scored,,true,one; two,3",
        "b,'=1+1.edf,scored,,,,2.5",
    ]
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs `pip install -e .[parquet]`")
    assert written == [table.CSV, table.PARQUET]
    read = parquet.read_table(tmp_path / table.PARQUET).to_pydict()
    assert read["ahi_per_h"] == [3.0, 2.5] and read["file"][0] == "=1+1.edf" and read["reliable_stages"] == [True, None]
