"""The results of `real_eeg` as a table and a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Results = dict[str, list[Any]]

NOTES = """
Spindles: F1, one to one, all excerpts pooled; two marks are one spindle when their centres are less than 1 s apart.
  Four excerpts of 30 min, one of them recorded at 50 Hz: all of it rests on four people.
  Detectors are fitted, threshold included, on the same expert's marks in the other three excerpts; YASA as it comes.
  Expert 1 marked nothing after 1000 s, so is the reference up to there only; so is the F1 between the experts.
  Expert 2 gave nearly every mark 1 s: centres say something, lengths do not. IoU: F1 of pairs with IoU >= 0.2.
  31 of expert 1's 44 marks in excerpt 4 lie in epochs scored wake.
Stages: epochs of 30 s. DREAMS was scored in epochs of 20 s: the 70 of 240 epochs that hold two stages are left out.
  No REM in DREAMS; its 170 epochs are of four people. ucddb018 is one night of one person: what the probe learnt from
  other fifths of it is within the night. Macro-F1 is over the stages that the reference has.
  Simulated nights taught the probe by one central EEG of four nights. The commonest stage is the reference's own.
YASA reads the same channel, prepared (128 Hz): at 50 Hz both its spindle detector and its staging raise an error.
  Its staging uses absolute amplitude: the unit of ucddb018 is not known, 100 uV is assumed.
"simulated + real" has seen the signals of these recordings, never their labels. Numbers of pretrained and untrained
  encoders are means over three seeds, with the lowest and the highest.
"a mark every 2 s" looks at no signal: it is what chance reaches.
Research use only: not a medical device, not for diagnosis or treatment.
"""


def table(spindles: dict[str, Results], stages: dict[tuple[str, str], Results]) -> str:
    """The table as text."""
    lines = []
    for expert, methods in spindles.items():
        n = next(iter(methods.values()))[0]["n_reference"]
        excerpts = "".join(f"{f'{i}':>6}" for i in range(1, 5))
        lines.append(f"{f'Spindles, {expert}, {n} marks':40}{'F1':>18}  excerpt{excerpts}{'IoU':>8}{'found':>8}")
        for name, runs in methods.items():
            each = "".join(f"{_mean(runs, lambda m, i=i: m['f1_each'][i], spread=False):>6}" for i in range(4))
            iou = _mean(runs, lambda m: m["f1_iou"]["0.2"], spread=False)
            found = round(np.mean([m["n_predicted"] for m in runs]))
            lines.append(f"{name:40}{_mean(runs, lambda m: m['f1']):>18}{'':9}{each}{iou:>8}{found:>8}")
        lines.append("")
    lines.append(f"{'Stages':40}{'kappa':>18}{'macro-F1':>18}{'accuracy':>18}")
    for (tested, learnt), methods in stages.items():
        lines.append(f"{tested}, learnt from {learnt}" if learnt else f"{tested}, not fitted here")
        for name, runs in methods.items():
            cells = (_mean(runs, lambda m, key=key: m[key]) for key in ("kappa", "macro_f1", "accuracy"))
            lines.append(f"  {name:38}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines) + "\n" + NOTES


def _mean(runs: Sequence[Any], of: Callable[[Any], float | None], *, spread: bool = True) -> str:
    """Mean over seeds, with the lowest and the highest where there are several; a dash where it does not exist."""
    values = [of(run) for run in runs]
    if None in values:
        return "–"
    several = spread and len(values) > 1
    return f"{np.mean(values):.2f}" + (f" ({min(values):.2f}–{max(values):.2f})" if several else "")


def plot(spindles: dict[str, Results], stages: dict[tuple[str, str], Results], path: Path) -> None:
    """Every F1 of spindles and every kappa of stages, a dot a seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [(f"spindles, {expert}", methods, "f1") for expert, methods in spindles.items()]
    for tested in dict.fromkeys(tested for tested, _ in stages):
        rows = {
            f"{name} ← {learnt}" if learnt else name: runs
            for (of, learnt), methods in stages.items()
            if of == tested
            for name, runs in methods.items()
        }
        panels.append((f"stages, {tested}", rows, "kappa"))
    figure, axes = plt.subplots(2, 2, figsize=(12, 9), height_ratios=(1, 1.8), layout="constrained")
    for axis, (title, rows, key) in zip(axes.flat, panels, strict=True):
        for place, (name, runs) in enumerate(reversed(rows.items())):
            values = [run[key] or 0.0 for run in runs]
            colour = "tab:blue" if name.startswith("tokens") else "tab:grey"
            axis.barh(place, np.mean(values), color=colour, alpha=0.6)
            axis.plot(values, [place] * len(values), "k.", markersize=4)
        axis.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=8)
        axis.set_xlim(min(0.0, axis.get_xlim()[0]), 1)
        axis.set_title(title)
        axis.set_xlabel({"f1": "F1", "kappa": "Cohen's kappa"}[key])
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)
