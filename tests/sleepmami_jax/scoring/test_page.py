"""The report in a real browser: by clicks, keys, wheel and fingers, on a screen, a phone and paper."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chromium import CHROMIUM, Chromium
from sleepmami_jax.scoring.report import render
from sleepmami_jax.scoring.score import summarise
from sleepmami_jax.scoring.signals import read_signals
from tests.sleepmami_jax.scoring.test_report import CARD, THRESHOLDS, drawn, judged, make_night

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
LEFT, RIGHT = 104, 8
"""Of the axis in the picture."""
HEARD = """window.words = []; const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (...all) {
  words.push(all[0]);
  return write.apply(this, all);
};"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    night, prediction = make_night()
    prediction.probs["stages"][300:330] = [0.1, 0.1, 0.1, 0.1, 0.6]
    scores = summarise(night, prediction, THRESHOLDS, CARD, judged(prediction, {"stages": 0.2}, unsure=range(40, 60)))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(scores, night, read_signals(night)), encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def browser():
    with Chromium() as one:
        one.send("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
        yield one


@pytest.fixture
def page(browser, file):
    """The page as just opened. Whatever is done to it, its console stays empty."""
    browser.size(1280, 1000)
    browser.dark(False)
    browser.open(file)
    yield browser
    assert browser.errors == []


def text(page, name) -> str:
    return page.run(f"document.getElementById('{name}').textContent")


def box(page, name="night") -> dict:
    page.run(f"document.getElementById('{name}').scrollIntoView({{block: 'center'}})")
    return page.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")


def middle_s(page) -> int:
    """What second is in the middle of the view: Enter selects it."""
    page.run("document.getElementById('night').focus()")
    page.key("Enter")
    hours, minutes, seconds = map(int, text(page, "chosen-title").removeprefix("Time ").split(":"))
    return 3600 * hours + 60 * minutes + seconds


def test_a_click_on_an_event_shows_what_it_was_told_from(page, file):
    data = drawn(file.read_text(encoding="utf-8"))
    place, there = data["events"]["onset"][5] + data["events"]["duration"][5] / 2, box(page)
    x = there["x"] + LEFT + place / data["duration"] * (there["width"] - LEFT - RIGHT)
    title = data["events"]["title"][5]
    for y in np.arange(max(there["y"], 10), 990, 6):
        page.mouse("mouseMoved", x, y)
        if text(page, "readout").startswith(title):
            break
    page.click(x, y)
    assert text(page, "chosen-title").startswith(f"{title}, ")
    facts = text(page, "chosen-facts")
    assert all(words in facts for words in ("Told from", "NASAL_PRESSURE", "Probability", "Counts as", "Goes with"))
    page.run("new Promise((done) => setTimeout(done, 300))")  # the blocks are unpacked
    spo2 = [words for words in page.run("window.words") if re.fullmatch(r"\d\d–\d\d %", words)]
    assert spo2 and all(words > "85" for words in spo2)  # out of its 8 bits
    assert "signals of the whole night are in this page" in text(page, "signal-box")
    linked = page.run("document.querySelector('#chosen-facts button')?.textContent")
    page.run("document.querySelector('#chosen-facts button').click()")
    assert text(page, "chosen-title") == linked
    page.key("Escape")
    assert page.run("document.getElementById('signal-box').hidden")


def test_keys_step_through_disagreements_and_events(page, file):
    data = drawn(file.read_text(encoding="utf-8"))
    n, spans = len(data["differences"]), data["differences"]
    page.key("n")
    assert text(page, "live").startswith(f"difference 1 of {n}: {spans[0][2]}")
    page.key("p")
    assert text(page, "live").startswith(f"difference {n} of {n}: {spans[-1][2]}")
    assert any("REM by the model" in words for _, _, words, _, _ in spans)
    page.key("e")
    assert re.match(r"event \d+ of \d+: ", text(page, "live"))
    page.run("document.getElementById('letter-keys').click()")
    before = text(page, "live")
    page.key("n")
    assert text(page, "live") == before
    assert page.run("document.querySelectorAll('#event-table tbody tr').length") == 0
    page.run("document.getElementById('event-details').open = true")
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert page.run("document.querySelectorAll('#event-table tbody tr').length") == len(data["events"]["onset"])


def test_wheel_drag_and_arrows_move_the_night(page, file):
    duration = drawn(file.read_text(encoding="utf-8"))["duration"]
    assert middle_s(page) == duration // 2
    there = box(page)
    y = 500
    x = there["x"] + LEFT + (there["width"] - LEFT - RIGHT) / 4
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-600)  # the picture has the focus
    zoomed = middle_s(page)
    assert zoomed < duration // 2
    page.key("ArrowRight")
    later = middle_s(page)
    assert later > zoomed
    there = box(page)
    page.drag([(there["x"] + 700, y), (there["x"] + 600, y), (there["x"] + 400, y)])
    assert middle_s(page) > later
    page.key("0")
    assert middle_s(page) == duration // 2
    scrolled = page.run("document.activeElement.blur(); scrollY")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=100)
    page.run("new Promise((done) => setTimeout(done, 200))")
    assert page.run("scrollY") > scrolled and middle_s(page) == duration // 2  # nobody is caught in passing


def test_fingers_on_a_phone(page, file):
    page.size(390, 844, 2, touch=True)
    page.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    page.open(file)
    assert page.run("document.documentElement.scrollWidth") == 390
    page.run("document.getElementById('zoom-out').scrollIntoView({block: 'start'})")

    def touch(kind, *xs):
        page.send(
            "Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": 300, "id": n} for n, x in enumerate(xs)]
        )

    duration = drawn(file.read_text(encoding="utf-8"))["duration"]
    touch("touchStart", 150)
    touch("touchStart", 150, 200)
    for reach in (20, 40, 60):
        touch("touchMove", 150 - reach, 200 + reach)
    touch("touchEnd")
    zoomed = middle_s(page)
    page.key("End")
    assert zoomed < middle_s(page) < duration - 60  # less than the whole night is in view
    page.send("Emulation.setTouchEmulationEnabled", enabled=False)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_keeps_a_screen_reader_out(page, file, dark):
    if (found := find_spec("axe_core_python")) is None:
        pytest.skip("no axe-core-python (pip install -e .[dev])")
    page.dark(dark)
    page.open(file)
    page.key("e")
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    page.run("new Promise((done) => setTimeout(done, 50))")
    page.run("for (const row of document.querySelectorAll('#event-table tr:nth-child(n + 4)')) row.remove()")  # alike
    page.run((Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8") + "; null")
    asked = "{runOnly: ['color-contrast']}" if dark else "{}"  # the rest is the same
    told = "[v.impact, v.id, ...v.nodes.map((n) => n.html)]"
    found = page.run(f"axe.run({asked}).then((r) => [r.violations.map((v) => {told}), r.passes.map((v) => v.id)])")
    assert [one for one in found[0] if one[0] in ("serious", "critical")] == []
    assert "color-contrast" in found[1]  # a rule that fails itself passes nothing


def test_two_sheets_of_paper_hold_the_whole_night(page, tmp_path):
    page.run("document.getElementById('zoom-in').click()")
    page.run("window.words.length = 0")
    page.pdf(tmp_path / "report.pdf")
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "report.pdf").read_bytes())) == 2
    assert {"0:00", "7:00"} <= set(page.run("window.words"))  # the view is that of the night, and then what it was
    assert not page.run("document.documentElement.classList.contains('paper')")
