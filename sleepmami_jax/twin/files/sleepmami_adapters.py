"""SleepMaMi where other libraries expect a model of theirs: braindecode, physioex, NeuroAtlas-bench, scikit-learn.

    from sleepmami_adapters import BraindecodeSleepMaMi, NeuroAtlasSleepMaMi, PhysioExSleepMaMi, SleepMaMiClassifier

Each is given samples as they were recorded, at any rate, and hands them to `sleepmami_signals.prepare_night`: filters,
good seconds and scale are those of a whole night. What they share, and what is worth knowing:

- `unit` is that of EEG, EOG, EMG and ECG: "uV", "mV" or "V" (MNE's datasets are in volts). SpO2 is in per cent,
  breathing in anything. Signals that were standardised before, or are in another unit, are refused.
- Channels are known by name ("C4", "EEG C4-M1", "E1", "CHIN", "SPO2"). Those of the model that are not given, that are
  flat or all zero, are masked. Names that the model does not know are left out with a warning.
- Give long windows or sequences where the library lets you: scale and context come from what is given at once.
- Gradients reach all of the model, and not the samples: preparing them is done in NumPy, on the CPU.

This file needs torch and numpy, and of the libraries only those whose class is used. In comments and shapes B is a
batch of windows, C channels, T samples, E epochs of a window, D the width of what is said of an epoch.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sleepmami_signals import EPOCH_S, prepare_night
from sleepmami_torch import SleepMaMi, load
from torch import Tensor, nn

MICROVOLTS = {"uV": 1.0, "mV": 1e3, "V": 1e6}
SIZES = 0.1, 40.0
"""How small and large the channels of a recording may be beside what is typical of their kind. Assumed: wide enough for
low voltage and for mains hum, and narrow enough that a thousandfold is seen."""
SEEN_EPOCHS = 50  # of a channel, when its size is looked at
AT_ONCE = 64  # windows that are prepared together where no gradient is kept


def _absent(library: str, error: Exception) -> type:
    """Stands where a class of a library that cannot be imported would stand, and says so when it is used."""

    class Absent:
        def __init_subclass__(cls, **_):
            pass

        def __new__(cls, *_, **__):
            raise ImportError(f"{cls.__name__} needs {library} (pip install '{library}'): {error}") from error

    return Absent


try:
    from braindecode.models.base import EEGModuleMixin

    if not hasattr(EEGModuleMixin, "_set_n_outputs"):
        raise ImportError("an older one is installed")
except (ImportError, OSError) as error:  # OSError: a shared library of theirs does not load
    EEGModuleMixin = _absent("braindecode>=1.8", error)
try:
    from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
except (ImportError, OSError) as error:  # OSError: a shared library of theirs does not load
    BaseEstimator, ClassifierMixin, TransformerMixin = (_absent("scikit-learn", error) for _ in range(3))


# ------------------------------------------------------------------------------------------------ what is shared


def known_channels(names: Sequence[str], rules: dict) -> dict[str, int]:
    """Channels of the model -> which of `names` it is.

    Args:
      rules: `preprocessing` of `config.json`.

    Raises:
      ValueError: the model knows none of the names, or two of them are the same channel.
    """
    slots = {slot.upper(): slot for facts in rules["modalities"].values() for slot in facts["slots"]}
    placed, unknown = {}, []
    for place, name in enumerate(names):
        word = re.sub(r"^(EEG|EOG|EMG|ECG)[ _]+", "", name.strip().upper())
        slot = slots.get(word) or slots.get(word.split("-")[0].strip())
        if slot is None:
            unknown.append(name)
        elif slot in placed:
            raise ValueError(f"channels {names[placed[slot]]!r} and {name!r} are both {slot} of the model; give one")
        else:
            placed[slot] = place
    if not placed:
        raise ValueError(f"channels {list(names)}: the model knows none of them; expected some of {[*slots.values()]}")
    if unknown:
        warnings.warn(f"channels {unknown} are left out: the model does not know them", stacklevel=3)
    return placed


def in_microvolts(nights: Sequence[Mapping[str, tuple]], unit: str, rules: dict) -> list[dict[str, tuple]]:
    """Nights as `SleepMaMi.score_arrays` takes them, with voltages in `unit` -> the same in microvolts.

    Raises:
      ValueError: another word than "uV", "mV", "V", or signals whose size cannot be what it says.
    """
    if unit not in MICROVOLTS:
        raise ValueError(f"unit {unit!r}: expected one of {', '.join(MICROVOLTS)}")
    voltages = {s: f["voltage"] for f in rules["modalities"].values() for s in f["slots"] if f["voltage"] is not None}
    converted, sizes = [], {}
    for night in nights:
        converted.append(dict(night))
        for name, (samples, rate_hz, *reach) in night.items():
            slot = name if name in voltages else name.split("-")[0].strip()
            if slot in voltages:
                x = np.asarray(samples, np.float32) * np.float32(MICROVOLTS[unit])
                reach = [tuple(MICROVOLTS[unit] * limit for limit in limits) for limits in reach]
                converted[-1][name] = (x, rate_hz, *reach)
                size = _typical(x, rate_hz) / voltages[slot]["typical_uv"]
                sizes.setdefault(name, []).extend(size[size > 0])
    found = [float(np.median(of_channel)) for of_channel in sizes.values() if of_channel]
    if found and not SIZES[0] <= np.median(found) <= SIZES[1]:
        ratio = float(np.median(found))
        fits = [u for u, uv in MICROVOLTS.items() if SIZES[0] <= ratio * uv / MICROVOLTS[unit] <= SIZES[1]]
        advice = f'; try unit="{fits[0]}"' if fits else ""
        raise ValueError(
            f"channels {', '.join(sizes)} cannot be in {unit}: {ratio:.2g} times as large as is typical; "
            f"expected them as recorded, not standardised{advice}"
        )
    return converted


def _typical(x: np.ndarray, rate_hz: float) -> np.ndarray:
    """(epochs,) typical amplitude, 1.4826 * median |x - its median|, of epochs without a gap; drift is no size."""
    width = max(1, round(EPOCH_S * float(rate_hz)))
    epochs = x[: len(x) // width * width].reshape(-1, width)[:, :: max(1, width // 1000)]
    epochs = epochs[:: max(1, len(epochs) // SEEN_EPOCHS)]
    epochs = epochs[np.isfinite(epochs).all(1)]
    return 1.4826 * np.median(np.abs(epochs - np.median(epochs, 1, keepdims=True)), 1) if len(epochs) else np.zeros(0)


def width_of(model: SleepMaMi) -> int:
    """D, the width of what `encode` says of an epoch."""
    of_modality = model.micro.modality.shape[1] + model.measured
    return len(model.modalities) * of_modality + model.macro.norm.weight.numel()


def encode(model: SleepMaMi, nights: Sequence[Mapping[str, tuple]], unit: str = "uV") -> tuple[Tensor, Tensor]:
    """What both encoders say of stretches of the same length.

    Args:
      nights: each as `SleepMaMi.score_arrays` takes one, with voltages in `unit`; B of them.

    Returns:
      Of each epoch the Micro-Encoder's tokens, averaged over each modality, beside the Macro-Encoder's features
      (B, E, D), zeros where nothing is usable; and the vector of the whole stretch (B, Dm).

    Raises:
      ValueError: see `in_microvolts` and `SleepMaMi.score_arrays`.
    """
    rules, device = model.preprocessing, model.micro.modality.device
    prepared = [prepare_night(night, rules)[0] for night in in_microvolts(nights, unit, rules)]
    arrays = {m: [np.concatenate([p[m][i] for p in prepared]) for i in (0, 1)] for m in rules["modalities"]}
    with torch.autocast(device.type, enabled=False):  # some trainers round without being asked; weights say the dtype
        tokens, ok = (v.unflatten(0, (len(nights), -1)) for v in model.tokens_of(arrays))
        summary, present = model.summary(tokens, ok)
        vector, epochs = model.macro(summary, present)
    means = summary[..., : -model.measured].flatten(-2)
    return torch.cat([means, epochs], -1).float() * ok.any(-1, keepdim=True), vector.float()


def of_windows(epochs: Tensor, vector: Tensor) -> Tensor:
    """What `encode` says -> of each whole stretch the mean of its epochs, beside its vector: (B, D + Dm)."""
    there = (epochs != 0).any(-1, keepdim=True)
    return torch.cat([epochs.sum(1) / there.sum(1).clamp(min=1), vector], -1)


class Encoder(nn.Module):
    """Windows as recorded (B, C, T) -> what `encode` says of them.

    Args:
      channels: names of the C channels.
      rate_hz: of all of them.
      unit: "uV", "mV" or "V", of those that are voltages.
    """

    def __init__(self, model: SleepMaMi, channels: Sequence[str], rate_hz: float, unit: str = "uV"):
        super().__init__()
        self.model, self.names, self.rate_hz, self.unit = model, list(channels), float(rate_hz), unit
        self.places = known_channels(self.names, model.preprocessing)

    def forward(self, x: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """(B, C, T) of whole epochs. Raises ValueError for another shape, and where `encode` does."""
        x = x.detach().cpu().float().numpy() if isinstance(x, Tensor) else np.asarray(x)
        if x.ndim != 3 or x.shape[1] != len(self.names):
            raise ValueError(f"windows of shape {x.shape}: expected (windows, {len(self.names)} channels, samples)")
        n_epochs = round(x.shape[2] / self.rate_hz / EPOCH_S)
        if not n_epochs or abs(x.shape[2] - n_epochs * EPOCH_S * self.rate_hz) >= 1:
            seconds = x.shape[2] / self.rate_hz
            raise ValueError(f"windows of {seconds:g} s at {self.rate_hz:g} Hz: expected a whole number of {EPOCH_S} s")
        rate_hz = x.shape[2] / (n_epochs * EPOCH_S)  # exact, where the samples of an epoch are no whole number
        nights = [{slot: (window[place], rate_hz) for slot, place in self.places.items()} for window in x]
        return encode(self.model, nights, self.unit)

    def of_sequences(self, x: Tensor) -> Tensor:
        """Sequences of L epochs (B, L, C, T), each one stretch of a night -> what is said of each epoch (B, L, D)."""
        if x.ndim != 4 or abs(x.shape[-1] - EPOCH_S * self.rate_hz) >= 1:
            expected = f"(B, L, C, {EPOCH_S * self.rate_hz:g}) at {self.rate_hz:g} Hz"
            raise ValueError(f"sequences of shape {tuple(x.shape)}: expected {expected}")
        return self(x.transpose(1, 2).flatten(2))[0]


# --------------------------------------------------------------------------------------------------- braindecode


class BraindecodeSleepMaMi(EEGModuleMixin, nn.Module, license="apache-2.0"):
    """A model as braindecode has them: a label for each window.

        model = BraindecodeSleepMaMi.from_pretrained(
            "FOLDER", n_outputs=5, chs_info=windows.info["chs"], n_times=3000, sfreq=100, unit="V"
        )
        EEGClassifier(model, optimizer=torch.optim.AdamW, lr=1e-4).fit(windows, y)

    Args:
      n_outputs, n_chans, chs_info, n_times, input_window_seconds, sfreq: as of braindecode's models. Of `chs_info` the
        names are read ("ch_name"); it must be given.
      described: `config.json` of an exported folder, as a dictionary; `from_pretrained` gives it.
      unit: "uV", "mV" or "V". MNE's own is "V"; braindecode's examples turn it into microvolts.
    """

    def __init__(
        self,
        n_outputs: int | None = None,
        n_chans: int | None = None,
        chs_info: list[dict] | None = None,
        n_times: int | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
        described: dict | None = None,
        unit: str = "uV",
    ):
        super().__init__(n_outputs, n_chans, chs_info, n_times, input_window_seconds, sfreq)
        if described is None:
            raise ValueError("described: expected config.json of an exported folder; `from_pretrained` reads it")
        names = [channel["ch_name"] for channel in self.chs_info]
        self.encoder = Encoder(SleepMaMi(described), names, self.sfreq, unit)
        self.reset_head(self.n_outputs)

    @property
    def model(self) -> SleepMaMi:
        """What was exported; `model.save(folder)` writes a folder that `sleepmami import-torch` takes home."""
        return self.encoder.model

    @classmethod
    def from_pretrained(cls, folder: str | Path, **arguments) -> BraindecodeSleepMaMi:
        """The model of a folder of `sleepmami export --to torch`, with a new head; or what `save_pretrained` wrote.

        Args:
          arguments: those of the class but `described`.
        """
        config = Path(folder) / "config.json"
        if config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("format") != "sleepmami-torch":
            return super().from_pretrained(folder, **arguments)
        exported = load(folder)
        made = cls(described=exported.described, **arguments)
        made.encoder.model.load_state_dict(exported.state_dict())
        return made.eval()

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor | dict[str, Tensor | None]:
        """(B, C, T) -> logits (B, n_outputs); or {"features": (B, D + Dm), "cls_token": None}."""
        features = of_windows(*self.encoder(x))
        return {"features": features, "cls_token": None} if return_features else self.final_layer(features)

    def reset_head(self, n_outputs: int) -> None:
        """A new last layer."""
        self._set_n_outputs(n_outputs)
        width = width_of(self.model) + self.model.macro.vector.out_features
        self.final_layer = nn.Linear(width, n_outputs).to(self.model.micro.modality.device)

    def __str__(self) -> str:
        return repr(self)  # braindecode's would run the model on random numbers, which are no signal


# ------------------------------------------------------------------------------------------------------ physioex


class PhysioExSleepMaMi(nn.Module):
    """A model as physioex has them: sequences of L epochs (B, L, C, T) -> logits (B, L, n_classes).

    A sequence is read as the one stretch of a night that it is. `physioex.train.trainer.Trainer` trains it, and
    `physioex.models.embed` takes its `encode`.

    Args:
      folder: an exported folder.
      channels: names of the C channels, in the order of the batch's `channel_order`.
      sfreq: rate of the samples, 100 Hz in most presets. They must be samples: no spectrogram, not standardised.
      unit: "uV", "mV" or "V"; physioex reads EDF in microvolts.
    """

    def __init__(
        self, folder: str | Path, channels: Sequence[str], n_classes: int = 5, sfreq: float = 100.0, unit: str = "uV"
    ):
        super().__init__()
        self.encoder = Encoder(load(folder), channels, sfreq, unit)
        self.embedding_dim = width_of(self.encoder.model)
        self.clf = nn.Linear(self.embedding_dim, n_classes)

    def encode(self, x: Tensor) -> Tensor:
        """(B, L, C, T), 30 s each -> (B, L, D)."""
        return self.encoder.of_sequences(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.clf(self.encode(x))


# ---------------------------------------------------------------------------------------------- NeuroAtlas-bench


class NeuroAtlasSleepMaMi:
    """A backbone as NeuroAtlas-bench has them: batches of windows -> embeddings, a row for each.

    With `expected_sequence_length` above 1 in its `spec` it is given sequences (B, L, C, T), and gives a row (D) for
    each epoch that is labelled; that tells the scale of the signals better than one epoch does.

    Args:
      spec: its `CheckpointSpec`; `checkpoint_path` is an exported folder.
      device: where the model runs.
    """

    def __init__(self, spec, device: str = "cuda" if torch.cuda.is_available() else "cpu"):
        self.spec, self.device, self.model = spec, device, load(spec.checkpoint_path).to(device)

    def forward_features(self, batch: Mapping) -> Tensor:
        """As `extract_embeddings`, as a tensor with gradients.

        Args:
          batch: `signals` {"eeg": (B, C, T)}, of one channel (B, T) too, of sequences (B, L, C, T); `meta` a dictionary
            for each row, with `channels`, `sampling_rate` in Hz and `unit`, the same in all.

        Raises:
          ValueError: something of it is missing or differs within the batch, and where `encode` does.
        """
        x, meta = batch["signals"]["eeg"], batch["meta"]
        for name in ("channels", "sampling_rate", "unit"):
            if any(name not in one or one[name] != meta[0][name] for one in meta):
                raise ValueError(f"meta: expected {name!r}, the same for each window of a batch")
        encoder = Encoder(self.model, meta[0]["channels"], meta[0]["sampling_rate"], meta[0]["unit"])
        if x.ndim == 4:
            rows, target = encoder.of_sequences(x), batch.get("_seq_target_idx", "all")
            return rows.flatten(0, 1) if target in (None, "all") else rows[:, int(target) % rows.shape[1]]
        return of_windows(*encoder(x[:, None] if x.ndim == 2 else x))

    def extract_embeddings(self, batch: Mapping) -> np.ndarray:
        """(B, D + Dm) float32, of sequences (rows, D); see `forward_features`."""
        with torch.inference_mode():
            return self.forward_features(batch).cpu().numpy()

    def metadata(self) -> dict:
        said = {"checkpoint_id": self.spec.identifier, "device": self.device, "epoch_seconds": EPOCH_S}
        return said | {name: getattr(self.spec, name) for name in ("model_family", "embedding_key", "embedding_dim")}


# -------------------------------------------------------------------------------------------------- scikit-learn


class SleepMaMiClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """A classifier on what the model says of each window or night; the model itself is not trained.

        nights = [{"C4-M1": (x_uv, 256.0), "SPO2": (spo2_pct, 1.0)}, ...]
        cross_val_score(SleepMaMiClassifier("FOLDER"), nights, y, groups=people, cv=GroupKFold(5))

    `transform` gives the features, so that it may stand before any other step of a pipeline.

    Args:
      folder: an exported folder.
      channels, sfreq: names and rate, where X is an array; dictionaries say their own.
      unit: "uV", "mV" or "V", of EEG, EOG, EMG and ECG.
      classifier: any of scikit-learn; a logistic regression on standardised features unless given.
    """

    def __init__(self, folder="", channels=None, sfreq=None, unit="uV", classifier=None):
        self.folder, self.channels, self.sfreq, self.unit, self.classifier = folder, channels, sfreq, unit, classifier

    def fit(self, X, y):
        """X: windows (N, C, T) of whole epochs, or a list of N nights as `SleepMaMi.score_arrays` takes one."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.model_ = load(self.folder)
        given = self.classifier
        usual = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self.classifier_ = (usual if given is None else clone(given)).fit(self.transform(X), y)
        self.classes_ = self.classifier_.classes_
        return self

    def transform(self, X) -> np.ndarray:
        """(N, D + Dm) float32. Raises ValueError for what `encode` refuses."""
        with torch.inference_mode():
            if isinstance(X, np.ndarray) and X.ndim == 3:
                if self.channels is None or self.sfreq is None:
                    raise ValueError("X is an array: expected `channels` and `sfreq`, its names and its rate in Hz")
                encoder = Encoder(self.model_, self.channels, self.sfreq, self.unit)
                said = [encoder(X[start : start + AT_ONCE]) for start in range(0, len(X), AT_ONCE)]
            else:
                said = [encode(self.model_, [night], self.unit) for night in X]
            return torch.cat([of_windows(*one) for one in said]).cpu().numpy()

    def predict(self, X) -> np.ndarray:
        return self.classifier_.predict(self.transform(X))

    def predict_proba(self, X) -> np.ndarray:
        """(N, classes), in the order of `classes_`. Raises AttributeError where `classifier` gives no probabilities."""
        return self.classifier_.predict_proba(self.transform(X))
