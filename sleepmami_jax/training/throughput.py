"""Where a run's time goes: examples and tokens a second, MFU, and goodput over all its restarts.

Events in `clock.jsonl`, each with `time`, seconds since 1970:
  start       a process began this run, or goes on with it
  changed     fields of the configuration, or inputs, that are not what they were
  resumed     step, lost_steps (recorded before, and done again now), written (the last sign of the process before)
  compiled    init_s from start to the first batch, data_s waiting for it, compile_s with the first step
  throughput  step, steps (so many, up to this one), data_s, step_s; step_median_s, data_share, examples_per_s,
              tokens_per_s, mfu, sent_bytes_per_s from this host to its devices
  validated   step, validation_s
  saved       step, save_s that the loop stood still for it; the rest of a save goes on beside the steps
  skipped     step of a loss or gradient that is no number, and changed nothing
  stopped     step of a loss that is no number
  preempted   step that was saved because the run was asked to stop
  done        steps, which are fewer than asked for where validation ended the run
  goodput     what `goodput` makes of all the lines before
Time counts as waiting for data only if the device had nothing left to do when the batch came. Tokens are the
Micro-Encoder's, before masking and merging, padding included.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import Any

import jax

from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining
from sleepmami_jax.costs.chips import peak_flops
from sleepmami_jax.costs.flops import step_flops
from sleepmami_jax.models.micro import layout
from sleepmami_jax.run.journal import Journal

WINDOW = 50  # steps between two lines of throughput
PARTS = ("init", "compile", "data", "step", "validation", "save", "lost", "other")


class Stopwatch:
    """Gives every moment of the loop to one part of it, and tells the journal.

    Args:
      batch: examples a step.
      devices: how many the steps run on.
    """

    def __init__(self, journal: Journal, experiment: Experiment, batch: int, devices: int):
        self._journal, self._batch = journal, batch
        self._tokens = batch * tokens_of_example(experiment)
        peak = peak_flops(jax.devices()[0].device_kind)
        self._flops_share = step_flops(experiment) / (devices * peak) if peak else None  # times 1/s is the MFU
        self._last = time.perf_counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._steps: list[float] = []
        self._sent = 0

    def lap(self, part: str) -> None:
        """The time since the last lap went into `part`: "data", "step", "validation" or "save"."""
        now = time.perf_counter()
        self._spent[part] += now - self._last
        self._last = now

    def sent(self, batch: Any) -> None:
        """This process's rows of a batch, numpy, went to its devices."""
        self._sent += sum(array.nbytes for array in jax.tree.leaves(batch))

    def compiled(self) -> None:
        """The first step is done, all of it since its batch came counts as compilation."""
        data_s = self._spent["data"]
        self.lap("compile")
        compile_s = self._spent["compile"]
        before = next(e for e in reversed(self._journal.clock_events()) if e["event"] == "start")["time"]
        init_s = max(0.0, time.time() - before - data_s - compile_s)
        self._journal.clock("compiled", init_s=_ms(init_s), data_s=_ms(data_s), compile_s=_ms(compile_s))
        self._spent.clear()
        self._sent = 0

    def stepped(self, step: int) -> None:
        """`step` steps are done, the metrics of those before it are recorded."""
        self.lap("step")
        self._steps.append(self._spent["step"] - sum(self._steps))
        if step % WINDOW == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Write the window that ends with `step`."""
        if not self._steps:
            return
        n, data_s, step_s = len(self._steps), self._spent["data"], self._spent["step"]
        median, total = statistics.median(self._steps), data_s + step_s
        self._journal.clock(
            "throughput",
            step=step,
            steps=n,
            data_s=_ms(data_s),
            step_s=_ms(step_s),
            step_median_s=float(f"{median:.4g}"),
            data_share=round(data_s / total, 4),
            examples_per_s=float(f"{n * self._batch / total:.4g}"),
            tokens_per_s=float(f"{n * self._tokens / total:.4g}"),
            mfu=float(f"{self._flops_share / median:.4g}") if self._flops_share else None,
            sent_bytes_per_s=float(f"{self._sent / total:.4g}"),
        )
        self._sent = 0
        self._spent.clear()
        self._steps.clear()

    def validated(self, step: int) -> None:
        """The loop stood still to measure on held-out batches."""
        self.lap("validation")
        self._journal.clock("validated", step=step, validation_s=_ms(self._spent.pop("validation")))

    def saved(self, step: int) -> None:
        """A save has begun, or ended, and the loop goes on."""
        self.lap("save")
        self._journal.clock("saved", step=step, save_s=_ms(self._spent.pop("save")))


def _ms(seconds: float) -> float:
    return round(seconds, 3)


def tokens_of_example(experiment: Experiment) -> int:
    """Micro tokens that one example of the batch stands for."""
    match experiment.objective:
        case MacroPretraining(night_epochs=epochs) | Finetuning(epochs=epochs):
            pass
        case _:
            epochs = 1
    return epochs * layout(experiment.model.modalities).total


def goodput(events: list[dict[str, Any]]) -> dict[str, float]:
    """The share of a run's wall time that went into steps which count, and the seconds of everything else.

    Args:
      events: of `clock.jsonl`, oldest first, from every process that worked on the run.

    Returns:
      `goodput`; `wall_s`, the time that some process was at it, not the time between two of them; and the seconds
      of each of `PARTS`, which add up to it. `lost` are steps that a restart did again, and what a killed process
      had done since its last line. `other` is what no line covers, such as the export.
    """
    starts = [i for i, event in enumerate(events) if event["event"] == "start"]
    attempts = [events[a:b] for a, b in zip(starts, [*starts[1:], len(events)], strict=True)]
    spent = dict.fromkeys(PARTS, 0.0)
    wall, redone_from = 0.0, float("inf")
    for attempt, after in reversed(list(zip(attempts, [*attempts[1:], []], strict=True))):
        resumed = next((event for event in after if event["event"] == "resumed"), None)
        end = attempt[-1]["time"]
        if resumed is not None:
            redone_from = min(redone_from, resumed["step"])
            tail = max(0.0, (resumed["written"] or end) - end)
            spent["lost"] += tail
            end += tail
        wall += end - attempt[0]["time"]
        for event in attempt:
            match event["event"]:
                case "compiled":
                    spent["init"] += event["init_s"]
                    spent["compile"] += event["compile_s"]
                    spent["data"] += event["data_s"]
                case "throughput":
                    share = min(1.0, max(0.0, (event["step"] - redone_from) / event["steps"]))
                    spent["data"] += event["data_s"]
                    spent["lost"] += share * event["step_s"]
                    spent["step"] += (1 - share) * event["step_s"]
                case "validated":
                    spent["validation"] += event["validation_s"]
                case "saved":
                    spent["save"] += event["save_s"]
    spent["other"] = max(0.0, wall - sum(spent.values()))
    share = spent["step"] / wall if wall > 0 else 0.0
    return {"goodput": round(share, 4), "wall_s": _ms(wall)} | {
        f"{part}_s": _ms(seconds) for part, seconds in spent.items()
    }


def summary(name: str, events: list[dict[str, Any]]) -> str:
    """One line for a reader: how fast the last process was, and what the whole run's time went into."""
    last = next((event for event in reversed(events) if event["event"] == "throughput"), None)
    whole = goodput(events)
    parts = ", ".join(f"{part} {whole[f'{part}_s']:.1f}" for part in PARTS)
    text = f"{name}: {whole['wall_s']:.1f} s, goodput {whole['goodput']:.0%} ({parts} s)"
    if last is None:
        return text
    mfu = "unknown" if last["mfu"] is None else f"{last['mfu']:.1%}"
    return (
        f"{text}; {last['step_median_s']:.3g} s a step, {last['examples_per_s']:,.0f} examples and "
        f"{last['tokens_per_s']:,.0f} tokens a second, waiting for data {last['data_share']:.0%}, MFU {mfu}"
    )
