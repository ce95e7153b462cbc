"""A model ready to use: from a recording or a prepared night to what the model says of it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from data_pipeline.annotations import read_scoring
from data_pipeline.load import held, open_night
from data_pipeline.modalities import Modality
from data_pipeline.montage.file import read_montage
from data_pipeline.night import EPOCH_S, Night, RecordingError
from data_pipeline.population.norms import norm_for
from data_pipeline.shards.manifest import ChannelEntry
from data_pipeline.tasks import STAGES, Task, TaskKind
from sleepmami_jax.config import ModelConfig
from sleepmami_jax.data.arrays import blank_signals, bucket_length, night_signals, usable_channels, with_present
from sleepmami_jax.data.embeddings import BLOCK_EPOCHS, batch_of_one, encode_night
from sleepmami_jax.data.frozen import QUICKLY, micro_encode, model_slots
from sleepmami_jax.data.measured import measured
from sleepmami_jax.export.folder import BUNDLED, ModelFolder, ModelFolderError
from sleepmami_jax.export.readme import model_name, trained_on
from sleepmami_jax.hub import open_model
from sleepmami_jax.models.micro import layout, token_width
from sleepmami_jax.models.sleepmami import SleepMaMi, merge, structure
from sleepmami_jax.models.stretches import DAY_EPOCHS
from sleepmami_jax.scoring.files import refuse_foreign
from sleepmami_jax.scoring.prediction import Prediction, Scores
from sleepmami_jax.scoring.score import beside, summarise, write_scores
from sleepmami_jax.scoring.signals import Signals, read_signals
from sleepmami_jax.trust.judge import Reliability, Tokens, judge_looks, mean_tokens
from sleepmami_jax.trust.looks import Look
from sleepmami_jax.trust.repair import repair

if TYPE_CHECKING:
    from data_pipeline.load import Given

HELD_BYTES = 512 << 20
"""Samples of a night that are kept in memory, some 26 hours of fourteen channels: of a longer one they are read twice
(our choice: half of what the model takes for a night of 8 hours)."""
SPARING = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""How a CPU compiles what reads more than a day: what can be done side by side is done in the order that takes least
room. By XLA's own account 72 hours then take 0.4 GB on the way instead of 0.7 (bundled model, jax 0.10.2)."""
_BESIDE = ThreadPoolExecutor(2, "compile")
"""Compiles while a recording is read: most of what a first score takes is these two programs."""


class Pretrained:
    """A model folder in memory.

    >>> model = sleepmami_jax.load("demo/model")
    >>> scores = model.score("night.edf", out="night")
    >>> scores.statistics["trt_min"]
    30.0

    Args:
      bundled: it is the one that comes with the package, which its card then says.
    """

    def __init__(self, folder: ModelFolder, *, bundled: bool = False):
        self.folder = folder
        self.bundled = bundled
        self.slots = model_slots(folder.config)
        self._norms = folder.norms
        names = structure(folder.config, tasks=folder.tasks)[1]
        self._params = jax.device_put({name: folder.params[name] for name in names})
        self.encode = micro_encode(folder.config, folder.params)

    @property
    def thresholds(self) -> dict[str, float]:
        """Where events begin, by name of the task. Raises ModelFolderError for a model that was never fine-tuned."""
        if not self.folder.tasks:
            raise ModelFolderError(
                "this model has no heads: it was pretrained but never fine-tuned on scored nights, so it cannot "
                "score; run `sleepmami finetune` first"
            )
        return self.folder.thresholds

    @property
    def card(self) -> dict[str, Any]:
        """What a reader of a score should know of the model."""
        card = self.folder.card
        return {
            "name": model_name(card),
            "version": self.folder.digest()[:12],
            **({"source": "bundled with the program"} if self.bundled else {}),
            "trained_on": trained_on(card),
            "training": {phase["name"]: phase for phase in card["training"]},
            "thresholds": card.get("thresholds", {}),
        }

    def tokens(self, night: Night) -> tuple[np.ndarray, np.ndarray]:
        """Micro tokens of a night: (E, L, D) float32 and which are there (E, L) bool.

        >>> from data_pipeline.load import load_night
        >>> tokens, ok = load("demo/model").tokens(load_night(Path("night.edf")))
        >>> len(tokens) == len(ok) == 60
        True
        """
        x, ok = self._tokens(night, measured(night).channels)
        return x[0, : night.n_epochs], ok[0, : night.n_epochs]

    def _tokens(self, night: Night, channels: Sequence[ChannelEntry]) -> tuple[np.ndarray, np.ndarray]:
        """Micro tokens of a night as a batch of one, see `data.embeddings.blank_batch`."""
        n = night.n_epochs
        if n == 0:
            raise ValueError(f"{night.night_id}: {night.duration_s} s long, expected at least {EPOCH_S} s (one epoch)")
        batch = encode_night(self.encode, night_signals(night, self.slots, BLOCK_EPOCHS, channels), n)
        _return_heap()
        return batch

    def encoded(self, blocks: Iterable[dict], n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
        """As `tokens`, of the night's signals (see `data.arrays`), `BLOCK_EPOCHS` at a time, the last ones padded."""
        x, ok = encode_night(self.encode, blocks, n_epochs)
        return x[0, :n_epochs], ok[0, :n_epochs]

    def infer(self, tokens: np.ndarray, ok: np.ndarray, channels: Sequence[ChannelEntry]) -> Prediction:
        """What the model says of a night of micro tokens (E, L, D) and their mask (E, L).

        Args:
          channels: those of the night; of them the tokens were made.
        """
        return self._said(*batch_of_one(tokens, ok), len(tokens), channels)

    def _said(self, x: np.ndarray, ok: np.ndarray, n: int, channels: Sequence[ChannelEntry]) -> Prediction:
        """As `infer`, of a batch of one night of n epochs."""
        tasks = self.folder.tasks
        vector, heads = self._program(_infer, n).result()(self._params, x, ok)
        length = {task.name: n * task.per_epoch for task in tasks}
        modality = layout(self.folder.config.modalities).modality_of_token()
        reached = usable_channels(channels, self.slots)
        present = {
            slot for i, slots in enumerate(self.slots.values()) if ok[..., modality == i].any() for slot in slots
        }
        return Prediction(
            tasks=tasks,
            probs={task.name: np.asarray(heads[task.name])[: length[task.name]] for task in tasks},
            night_vector=np.asarray(vector),
            scorable=np.asarray(ok[0, :n].any(-1)),
            usable={slot: entry.usable(n) for slot, (_, entry) in reached.items() if slot in present},
        )

    def vector(self, tokens: np.ndarray, ok: np.ndarray) -> np.ndarray:
        """The night's vector (Dm,) alone, which needs no way back to epochs and seconds; arguments as in `infer`."""
        x, there = batch_of_one(tokens, ok)
        return np.asarray(self._program(_vector, len(tokens)).result()(self._params, x, there))

    def _program(self, what: Callable, n_epochs: int) -> Future[Callable]:
        """`what` of a night of so many epochs, once it is compiled; another call begins no second compilation."""
        return _compiled(self.folder.config, self.folder.tasks, what, bucket_length(n_epochs))

    def _begun(self, night: Night, what: Callable) -> Night:
        """A night of `open_night`, its samples read while all that they go through is compiled."""
        n = night.n_epochs
        if n:
            encoder = _BESIDE.submit(self.encode, with_present(blank_signals(BLOCK_EPOCHS, self.slots), self.slots))
            if n <= DAY_EPOCHS:
                self._program(what, n)
        night = held(night, HELD_BYTES)
        if n > DAY_EPOCHS:  # one after the other, and before there are tokens: to compile either takes half a GB
            encoder.result()
            _return_heap()
            self._program(what, n).result()
        return night

    def predict(self, night: Night) -> Prediction:
        """What the model says of a night.

        >>> from data_pipeline.load import load_night
        >>> load("demo/model").predict(load_night(Path("night.edf"))).stage_probs.shape
        (60, 5)
        """
        return self.listen(night)[0]

    def listen(self, night: Night) -> tuple[Prediction, Tokens]:
        """As `predict`, and what the Micro-Encoder heard: the mean token of each epoch, by modality."""
        channels, n = measured(night).channels, night.n_epochs
        x, ok = self._tokens(night, channels)
        return self._said(x, ok, n, channels), self.heard(x[0, :n], ok[0, :n])

    def heard(self, tokens: np.ndarray, ok: np.ndarray) -> Tokens:
        """Micro tokens of a night, see `tokens` -> the mean one of each epoch, by modality."""
        return mean_tokens(tokens, ok, layout(self.folder.config.modalities).modality_of_token(), self.slots)

    def judge(self, night: Night, prediction: Prediction, tokens: Tokens) -> Reliability | None:
        """How far to believe a prediction; arguments as from `listen`. None where the model has no `reference`."""
        return self._judge(measured(night).looks, prediction, tokens) if self.folder.reference else None

    def _judge(self, looks: Sequence[Look], prediction: Prediction, tokens: Tokens) -> Reliability | None:
        if self.folder.reference is None:
            return None
        known, probs = self.folder.reference, prediction.stage_probs
        return judge_looks(known, self.folder.tasks, looks, tokens, probs, prediction.scorable)

    def embed(self, recording: Given | Night) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Micro tokens (E, L, D), their mask (E, L) and the night's vector (Dm,), all of one recording.

        >>> tokens, ok, vector = load("demo/model").embed("night.edf")
        >>> tokens.shape, ok.shape, vector.shape
        ((60, 33, 205), (60, 33), (16,))
        """
        tokens, ok = self.tokens(self._begun(_night(recording), _vector))
        return tokens, ok, self.vector(tokens, ok)

    def score(
        self,
        recording: Given | Night,
        scoring: Sequence[Path | str] = (),
        *,
        out: Path | str | None = None,
        montage: Path | str | None = None,
        calibrate: Path | str | None = None,
        rules: Literal["adult", "child"] | None = None,
    ) -> Scores:
        """Stages, events and indices of one recording; written as six files to `out` if that is given.

        >>> scores = load("demo/model").score("night.edf", ["night.csv"])
        >>> sorted(scores.agreement)
        ['arousal', 'breathing', 'stages']
        >>> x_uv = np.random.default_rng(0).normal(0, 20, 60 * 200)
        >>> load("demo/model").score({"C4-M1": (x_uv, 200.0)}).stages.shape
        (2,)

        Args:
          recording: a file of any format that `open_recording` reads; an `mne.io.Raw`; arrays {label: (samples in uV,
            rate in Hz)}; or a `Night`.
          scoring: files of a human scorer, to compare with.
          montage: a montage file, see `data_pipeline.montage.file`.
          calibrate: a human scoring of some epochs of this night, by which its stages are put right (`trust.repair`).
          rules: of whom breathing is scored; by the age of the person unless given, of an adult where that is unknown.

        Raises:
          RecordingError: it cannot be read, or has no channel that the model knows.
          ModelFolderError: the model was never fine-tuned.
          ValueError: the montage file is damaged, the night is shorter than an epoch, or `rules` are of nobody.
          TypeError: the recording is none of these.
        """
        _ = self.thresholds  # before the work, as is whether it may be written
        if out is not None:
            refuse_foreign(Path(out))
        lab = read_montage(Path(montage)) if montage else None
        night = _night(recording, [Path(s) for s in scoring], montage=lab)
        how = {"rules": rules, "supine": lab.supine if lab else ()}
        scores, night, signals = self.scored(night, calibrate, **how)
        if out is not None:
            write_scores(scores, night, Path(out), signals)
        return scores

    def scored(self, night: Night, calibrate: Path | str | None = None, **how: Any) -> tuple[Scores, Night, Signals]:
        """As `score`, of a night in memory or of `open_night`, with what `write_scores` wants: the night without its
        waves, and what is shown of these. `how`: as of `summarise`."""
        thresholds = self.thresholds
        night = self._begun(night, _infer)
        known, signals = measured(night), read_signals(night)
        n, (x, ok) = night.n_epochs, self._tokens(night, known.channels)
        night = known.night  # a night's samples are large, and so is what comes now
        prediction, tokens = self._said(x, ok, n, known.channels), self.heard(x[0, :n], ok[0, :n])
        del x, ok
        if calibrate is not None:
            night, prediction = _put_right(night, prediction, tokens, Path(calibrate))
        believed = self._judge(known.looks, prediction, tokens)
        scores = summarise(night, prediction, thresholds, self.card, believed, **how)
        return beside(scores, norm_for(self._norms, night.demographics)), night, signals

    def __repr__(self) -> str:
        tasks = ", ".join(task.name for task in self.folder.tasks) or "no task: it was never fine-tuned"
        return f"<{model_name(self.folder.card)} {self.folder.digest()[:12]}: {tasks}; {trained_on(self.folder.card)}>"


def _night(recording: Given | Night, scoring: Sequence[Path] = (), **options: Any) -> Night:
    return recording if isinstance(recording, Night) else open_night(recording, scoring, **options)


def _put_right(night: Night, prediction: Prediction, tokens: Tokens, scored: Path) -> tuple[Night, Prediction]:
    """The prediction with its stages put right by a scoring of some epochs, and the night with a note of it."""
    known, _ = read_scoring(scored, night.duration_s)
    eeg = tokens.get(Modality.EEG, next(iter(tokens.values()), (None, None)))[0]
    codes = np.where(prediction.scorable, known.stages, np.int8(-1))
    if not (codes >= 0).any():
        raise RecordingError(
            scored, "it names no stage of an epoch that could be scored; expected some, to put right by"
        )
    repaired = repair(prediction.stage_probs, eeg, codes)
    probs = dict(prediction.probs) | {STAGES.name: repaired.probs}
    return replace(night, notes=(*night.notes, repaired.sentence)), replace(prediction, probs=probs)


def _return_heap() -> None:
    """Gives back what a compilation left free on the heap, a quarter of a gigabyte: a night's own arrays are too large
    to be put there. glibc only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _infer(model: SleepMaMi, tokens: jax.Array, ok: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    out = model(tokens, ok)
    return out.vector[0], {task.name: _probabilities(task, out.heads[task.name][0]) for task in model.tasks}


def _probabilities(task: Task, logits: jax.Array) -> jax.Array:
    """(T, K) logits of a head -> (T, classes); see `NightOutput.heads`."""
    if task.kind is TaskKind.STAGES or logits.shape[-1] > 1:
        return jax.nn.softmax(logits)
    yes = jax.nn.sigmoid(logits)
    return jax.numpy.concatenate([1 - yes, yes], -1)


def _vector(model: SleepMaMi, tokens: jax.Array, ok: jax.Array) -> jax.Array:
    return model(tokens, ok).vector[0]  # the compiler leaves out the rest


@lru_cache
def _compiled(config: ModelConfig, tasks: tuple[Task, ...], what: Callable, length: int) -> Future[Callable]:
    """`what` of one night of so many epochs: a compilation a length, whatever the weights."""
    return _BESIDE.submit(_compile, config, tasks, what, length)


def _compile(config: ModelConfig, tasks: tuple[Task, ...], what: Callable, length: int) -> Callable:
    graph, params = structure(config, tasks=tasks)
    n = layout(config.modalities).total
    tokens = jax.ShapeDtypeStruct((1, length, n, token_width(config)), np.float32)
    ok = jax.ShapeDtypeStruct((1, length, n), bool)
    lowered = jax.jit(lambda params, *night: what(merge(graph, params), *night)).lower(params, tokens, ok)
    sparing = SPARING if length > DAY_EPOCHS else {}
    compiled = lowered.compile(QUICKLY | sparing if jax.default_backend() == "cpu" else None)
    _return_heap()
    return compiled


def load(path: Path | str = BUNDLED) -> Pretrained:
    """A model, ready to use; without a path, the one that comes with the package. Raises ModelFolderError.

    `owner/name`, or `owner/name@revision`, is one on the Hugging Face hub; see `sleepmami_jax.hub`.

    >>> load("demo/model").slots["EEG"]
    ('C3', 'C4')
    """
    return Pretrained(open_model(path), bundled=os.fspath(path) == BUNDLED)
