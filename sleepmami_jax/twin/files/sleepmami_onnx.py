"""SleepMaMi through ONNX Runtime: `config.json`, `micro.onnx` and `macro.onnx` in this folder.

It needs onnxruntime and numpy. Beside it lies `sleepmami_signals.py`: from samples as they were recorded to what the
model reads, and from probabilities to events.

    import sys
    sys.path.insert(0, "FOLDER")
    from sleepmami_onnx import load

    model = load("FOLDER")
    night = model.score_arrays({"C4-M1": (x_uv, 256.0), "SPO2": (spo2_pct, 1.0)})
    night["stages"], night["events"]["breathing"], night["vector"]

In comments and shapes C is the channels of a modality, T samples of an epoch of 30 s, E epochs of a night, L tokens of
an epoch, D the width of a token. A channel is a place, such as C4, which the model knows by where it stands: C is fixed
and a channel or a whole modality that was not recorded is given as zeros, of which nothing is usable.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
from sleepmami_folder import Form, described_in, refusing
from sleepmami_signals import ScoresArrays

BLOCK_EPOCHS = 32  # of a night that micro.onnx reads at once
GRAPHS = ("micro.onnx", "macro.onnx")
FORM = Form(
    "sleepmami-onnx",
    1,
    {"weights": "a text", "files": {name: {"sha256": "a text"} for name in GRAPHS}},
    "export the model again (`sleepmami export --to onnx`)",
)
FILES = ("sleepmami_onnx.py", "sleepmami_folder.py", "sleepmami_signals.py")
"""What lies in a folder besides the graphs, their description and what a reader is told."""


class SleepMaMi(ScoresArrays):
    """The two graphs, and what `config.json` says of them.

    Args:
      graphs: {"micro.onnx": bytes, "macro.onnx": bytes}.
    """

    def __init__(self, described: dict, graphs: dict[str, bytes]):
        self.described = described
        self._micro, self._macro = (
            onnxruntime.InferenceSession(graphs[name], providers=["CPUExecutionProvider"]) for name in GRAPHS
        )

    def micro(self, arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """{modality: (signal (E, C, T) float32, usable (E, C, 30) bool)} -> tokens (E, L, D), their mask (E, L)."""
        n_epochs, blocks = len(next(iter(arrays.values()))[0]), []
        for start in range(0, n_epochs, BLOCK_EPOCHS):
            part = {}
            for name, (signal, usable) in arrays.items():
                part[f"{name}_signal"] = signal[start : start + BLOCK_EPOCHS]
                part[f"{name}_usable"] = usable[start : start + BLOCK_EPOCHS]
            blocks.append(self._micro.run(["tokens", "ok"], part))
        tokens, ok = (np.concatenate(block) for block in zip(*blocks, strict=True))
        return tokens, ok

    def macro(self, tokens: np.ndarray, ok: np.ndarray) -> dict[str, np.ndarray]:
        """Tokens of a night (E, L, D) and their mask (E, L) -> what the model says of it.

        Returns:
          "vector" (Dm,), "epochs" (E, Dm), "seconds" (30 E, Ds), "fast" (30 E 8, Df) where a task needs it, and the
          logits of each task under its name: of stages (E, 5), of events (30 E rate_hz, K), K is 1 for yes against no,
          else none and the classes. All float32.
        """
        names = [output.name for output in self._macro.get_outputs()]
        return dict(zip(names, self._macro.run(names, {"tokens": tokens, "ok": ok}), strict=True))

    def said_of(self, arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[dict, np.ndarray, np.ndarray]:
        """Of a night as `micro` reads it: probabilities by task, vector (Dm,), mask of tokens (E, L)."""
        tokens, ok = self.micro(arrays)
        logits = self.macro(tokens, ok)
        found = {task["name"]: probabilities(logits[task["name"]]) for task in self.described["tasks"]}
        return found, logits["vector"], ok


def probabilities(logits: np.ndarray) -> np.ndarray:
    """(T, K) -> (T, classes): of a single logit "no" and "yes", else a softmax."""
    if logits.shape[-1] == 1:
        yes = 1 / (1 + np.exp(-logits))
        return np.concatenate([1 - yes, yes], -1)
    share = np.exp(logits - logits.max(-1, keepdims=True))
    return share / share.sum(-1, keepdims=True)


def load(folder: str | Path) -> SleepMaMi:
    """The model of an exported folder, on the CPU.

    Raises:
      ValueError: a file is missing, damaged or of something else; it is named.
    """
    folder, graphs = Path(folder), {}
    described = described_in(folder, FORM)
    for name in GRAPHS:
        with refusing(folder / name, FORM):
            graphs[name] = (folder / name).read_bytes()
            if hashlib.sha256(graphs[name]).hexdigest() != described["files"][name]["sha256"]:
                raise ValueError("was changed or damaged after it was written")
    return SleepMaMi(described, graphs)
