"""The documentation as a site: it builds without a warning, and has the names and the commands that there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sleepmami_jax
from sleepmami_jax.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for name in ("material", "mkdocstrings"):
        pytest.importorskip(name, reason="needs `pip install -e .[docs]`")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


def test_it_has_every_public_name_and_every_command(site):
    model = (site / "reference" / "model.html").read_text()
    for name in (*sleepmami_jax.__all__, "pretrained.Pretrained.score", "scoring.prediction.Scores"):
        assert f'id="sleepmami_jax.{name}"' in model, name
    commands = (site / "reference" / "commands.html").read_text()
    assert all(f'id="sleepmami-{name}"' in commands for name in COMMANDS)


def test_what_its_pages_cite_is_in_it(site):
    assert "ucddb018" in (site / "repository" / "experiments" / "results" / "people.txt").read_text()
    pages = [page.read_text() for page in site.rglob("*.html")]
    assert not any(f'{where}="http' in re.sub(r"<a [^>]*>", "", page) for page in pages for where in ("src", "href"))
