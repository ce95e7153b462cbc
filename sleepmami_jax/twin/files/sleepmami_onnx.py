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
import json
from pathlib import Path

import numpy as np
import onnxruntime
from sleepmami_signals import prepare_night, scored, seal

BLOCK_EPOCHS = 32  # of a night that micro.onnx reads at once
AGAIN = "export the model again (`sleepmami export --to onnx`)"


class SleepMaMi:
    """The two graphs, and what `config.json` says of them.

    Args:
      graphs: {"micro.onnx": bytes, "macro.onnx": bytes}.
    """

    def __init__(self, described: dict, graphs: dict[str, bytes]):
        self.described = described
        self._micro, self._macro = (
            onnxruntime.InferenceSession(graphs[name], providers=["CPUExecutionProvider"])
            for name in ("micro.onnx", "macro.onnx")
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

    def score_arrays(self, channels: dict[str, tuple], mains_hz: float | None = None) -> dict:
        """Scores a night given as arrays.

        Args:
          channels: {name: (samples (n,), rate in Hz)}, all from the same moment on, NaN where nothing was recorded;
            (samples, rate, (lowest, highest)) where it is known what the recorder can say, beyond which it clips. A
            name is a channel of the model ("C4", "E1", "CHIN", "LEG_L", "ECG", "THERMISTOR", "THORAX", "SPO2", ...) or
            an electrode against its reference ("C4-M1"). EEG, EOG, EMG and ECG in microvolts, SPO2 in per cent.
          mains_hz: 50 or 60 where a notch is wanted whatever the signals show; None looks for a line in each.

        Returns:
          "stages" (E,) int8 over `stage_names`, -1 where nothing is usable; "probabilities" by task, of events the
          first is none; "events" by task, dictionaries of kind, onset_s, duration_s and probability; "vector" (Dm,)
          float32; "usable" {channel: (seconds,) bool}.

        Raises:
          ValueError: an unknown channel, arrays that are none, or less than an epoch; it names the channel.
        """
        arrays, usable = prepare_night(channels, self.described["preprocessing"], mains_hz)
        tokens, ok = self.micro(arrays)
        logits = self.macro(tokens, ok)
        found = {task["name"]: probabilities(logits[task["name"]]) for task in self.described["tasks"]}
        return scored(found, logits["vector"], ok, arrays, self.described) | {"usable": usable}


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
    folder = Path(folder)
    described = _description(folder / "config.json")
    graphs = {}
    for name, facts in described["files"].items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file; {AGAIN}")
        graphs[name] = (folder / name).read_bytes()
        if hashlib.sha256(graphs[name]).hexdigest() != facts["sha256"]:
            raise ValueError(f"{folder / name} was changed or damaged after it was written; {AGAIN}")
    return SleepMaMi(described, graphs)


def _description(path: Path) -> dict:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {AGAIN}")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        found, whole = described["format"], described["sha256"] == seal(described)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; {AGAIN}") from error
    if found != "sleepmami-onnx":
        raise ValueError(f"{path}: {found}, expected sleepmami-onnx; {AGAIN}")
    if not whole:
        raise ValueError(f"{path} was changed after it was written; {AGAIN}")
    return described
