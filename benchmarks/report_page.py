"""How large a night's report is, how long it takes to write and to open, and how smoothly it pans.

    python -m benchmarks.report_page [--hours 8] [--rounds 5]

The night is made here: 14 channels of noise, a hypnogram, 300 events of each kind. `write` is all that a score spends
on its page, in seconds of this process; `open` is from the beginning of loading to the picture drawn; `pan` is a frame
of 90 while the picture is dragged at a span of half an hour, and `rest` one of a page in which nothing moves. On a
machine that is busy the clock tells of the others: `computed` is the processor time of all processes of the browser,
and `fixed sum`, 2^24 square roots beside each round, compares machines.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.chromium import Chromium
from data_pipeline.modalities import MODALITY_OF, Modality
from data_pipeline.night import EPOCH_S, Channel, Event, EventKind, Night, Scoring
from data_pipeline.tasks import AROUSAL, BREATHING, LIMB_MOVEMENT, STAGES, TaskKind
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.report import render
from sleepmami_jax.scoring.score import summarise
from sleepmami_jax.scoring.signals import read_signals

SLOTS = ("F4", "C4", "O2", "E1", "E2", "CHIN", "LEG_L", "LEG_R", "ECG")
SLOTS += ("NASAL_PRESSURE", "THERMISTOR", "THORAX", "ABDOMEN", "SPO2")
SIZE = {"EEG": 20.0, "EOG": 30.0, "EMG": 8.0, "ECG": 120.0, "RESP": 0.4}
DRAG = """new Promise((done) => {
  const canvas = document.getElementById("night"), box = canvas.getBoundingClientRect(), times = [];
  const send = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, clientX: x, clientY: box.y + 300, bubbles: true, pointerType: "mouse", isPrimary: true }));
  canvas.setPointerCapture = () => {};
  for (let k = 0; k < 4; k++) document.getElementById("zoom-in").click();
  send("pointerdown", box.x + 900);
  const frame = (now) => {
    times.push(now);
    send("pointermove", box.x + 900 - 6 * times.length);
    if (times.length <= 90) return requestAnimationFrame(frame);
    send("pointerup", box.x + 300);
    done(times.slice(1).map((t, k) => t - times[k]));
  };
  requestAnimationFrame(frame);
})"""

REST = """new Promise((done) => {
  const times = [];
  const gaps = () => times.slice(1).map((t, k) => t - times[k]);
  const frame = (now) => (times.push(now) > 30 ? done(gaps()) : requestAnimationFrame(frame));
  requestAnimationFrame(frame);
})"""


def a_night(hours: float) -> tuple[Night, Prediction]:
    rng, seconds = np.random.default_rng(0), int(hours * 3600) // EPOCH_S * EPOCH_S
    n = seconds // EPOCH_S
    stages = np.repeat(rng.choice(5, n // 10 + 1, p=(0.15, 0.1, 0.4, 0.2, 0.15)), 10)[:n].astype(np.int8)
    channels = []
    for slot in SLOTS:
        modality = MODALITY_OF[slot]
        noise = rng.standard_normal(seconds * modality.facts.rate_hz, np.float32)
        samples = np.rint(96 + noise) if modality is Modality.SPO2 else SIZE[modality] * noise
        quality = (rng.random(seconds) < 0.001).astype(np.uint8)
        channels.append(Channel(slot, modality, samples, quality, slot, "named so", 256.0))
    probs = np.full((n, 5), 0.1, np.float32)
    probs[np.arange(n), stages] = 0.6
    tasks = (STAGES, BREATHING, AROUSAL, LIMB_MOVEMENT)
    heads, marks = {"stages": probs}, []
    for task, kind in ((BREATHING, EventKind.HYPOPNEA), (AROUSAL, EventKind.AROUSAL), (LIMB_MOVEMENT, "limb_movement")):
        yes = np.zeros(seconds, np.float32)
        for onset_s in np.linspace(100, seconds - 100, 300).astype(int):
            length_s = int(task.shortest_s) + 5
            yes[onset_s : onset_s + length_s] = 0.9
            marks.append(Event(kind, float(onset_s + 2), float(length_s)))
        heads[task.name] = np.stack([1 - yes, *[yes / len(task.events)] * len(task.events)], 1)
    kinds = frozenset({"stages", "apnea", "hypopnea", "arousal", "limb_movement"})
    scoring = Scoring(np.roll(stages, 1), tuple(sorted(marks, key=lambda e: e.onset_s)), kinds)
    night = Night("bench", "bench", "", seconds, tuple(channels), scoring, start_clock="22:45:00")
    usable = {slot: np.ones(n, bool) for slot in SLOTS}
    return night, Prediction(tasks, heads, np.zeros(4, np.float32), np.ones(n, bool), usable)


def fixed_sum() -> float:
    begun, x = time.process_time(), np.ones(1 << 24, np.float32)
    float(np.sqrt(x).sum())
    return time.process_time() - begun


def main(hours: float, rounds: int) -> None:
    night, prediction = a_night(hours)
    thresholds = {task.name: 0.5 for task in prediction.tasks if task.kind is TaskKind.EVENTS}
    scores = summarise(night, prediction, thresholds, {"name": "bench"})
    with tempfile.TemporaryDirectory() as folder, Chromium() as page:
        path = Path(folder) / "report.html"
        write, opened, opening, frames, framing, rest, unit = [], [], [], [], [], [], []
        for _ in range(rounds):
            begun = time.process_time()
            path.write_text(render(scores, night, read_signals(night)), encoding="utf-8")
            write.append(time.process_time() - begun)
            before = page.computed_s()
            page.open(path)
            opening.append(page.computed_s() - before)
            opened.append(page.run("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
            rest += page.run(REST)
            before = page.computed_s()
            frames += page.run(DRAG)
            framing.append(1000 * (page.computed_s() - before) / 90)
            unit.append(fixed_sum())
        print(
            f"{hours:g} h, {len(night.channels)} channels, {len(scores.events)} events, "
            f"{path.stat().st_size / 1e6:.1f} MB"
        )
        print(f"write  {statistics.median(write):6.2f} s     (wanted: at most 1.5)")
        median = statistics.median
        print(f"open   {median(opened):6.2f} s by the clock, {median(opening):.2f} s computed (wanted: at most 1)")
        print(
            f"pan    {median(frames):6.0f} ms a frame by the clock, {median(framing):.0f} ms computed "
            "(wanted: at most 33)"
        )
        print(f"rest   {median(rest):6.0f} ms a frame by the clock")
        print(f"fixed sum {1000 * median(unit):.0f} ms; {rounds} rounds; errors of the page: {len(page.errors)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    main(**vars(parser.parse_args()))
