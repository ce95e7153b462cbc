"""An experiment as one tree of frozen dataclasses, and the only way to read, change or write one.

A field is read where it is used and nowhere else. `from_dict` and `override` refuse unknown names and wrong
types and suggest the nearest name, because a misspelt option that is silently ignored costs a training run.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import importlib.util
import json
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES, Task, TaskKind, find_task


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field and says what was expected."""


def _at_least(lowest: float, config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < lowest:
            raise ConfigError(f"{type(config).__name__}.{name}: expected at least {lowest}, found {value}")


def _more_than(lowest: float, config: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(config, name)) <= lowest:
            raise ConfigError(f"{type(config).__name__}.{name}: expected more than {lowest}, found {value}")


def _one_of(config: Any, name: str, *choices: str) -> None:
    value = getattr(config, name)
    if value not in choices:
        raise ConfigError(
            f"{type(config).__name__}.{name}: expected {' or '.join(map(repr, choices))}, found {value!r}"
        )


@dataclass(frozen=True)
class ModalityConfig:
    """How one modality becomes tokens.

    Attributes:
      slots: canonical channels the model looks at, a subset of `night.SLOTS`.
      token_s: seconds in one token; a divisor of 30. Slow signals need fewer tokens.
    """

    slots: tuple[str, ...]
    token_s: int


@dataclass(frozen=True)
class ModalitiesConfig:
    """The six modalities in the order of their tokens."""

    EEG: ModalityConfig = ModalityConfig(SLOTS[Modality.EEG], token_s=1)
    EOG: ModalityConfig = ModalityConfig(SLOTS[Modality.EOG], token_s=2)
    EMG: ModalityConfig = ModalityConfig(SLOTS[Modality.EMG], token_s=2)
    ECG: ModalityConfig = ModalityConfig(SLOTS[Modality.ECG], token_s=5)
    RESP: ModalityConfig = ModalityConfig(SLOTS[Modality.RESP], token_s=2)
    SPO2: ModalityConfig = ModalityConfig(SLOTS[Modality.SPO2], token_s=5)

    def __getitem__(self, modality: Modality) -> ModalityConfig:
        return getattr(self, modality.value)


@dataclass(frozen=True)
class MicroConfig:
    """The Micro-Encoder: private blocks per modality, then shared blocks with a mixture of experts."""

    dim: int = 64
    heads: int = 4
    private_depth: int = 1
    shared_depth: int = 2
    experts: int = 4
    top_k: int = 2
    capacity: float = (
        1.5  # slots per expert in training, as a multiple of an even split; scoring drops nothing
    )
    mlp_ratio: int = 2  # hidden width of an MLP, or of one expert, over dim


@dataclass(frozen=True)
class MacroConfig:
    """The Macro-Encoder: bidirectional SSD blocks with patch merging between levels."""

    dim: int = 64
    levels: int = 3  # 0 is no context at all: epochs are what the Micro-Encoder made of them
    blocks_per_level: int = 1
    merge: int = 2  # M of the paper, never published
    state: int = 16  # N of Mamba-2
    head_dim: int = 32
    pool_heads: int = 4  # of the attention that makes one vector of the night
    chunk: int = 16  # SSD chunk: about `state` is best on CPU, 256 on TPU
    mixer: str = "ssd"  # or "selective": Mamba-1's scan, the reference and many times slower
    bidirectional: bool = True  # False reads from sleep onset only
    seconds_dim: int = 48  # width of the dense path back to seconds
    seconds_depth: int = 2

    def __post_init__(self):
        _at_least(0, self, "levels", "seconds_depth")
        _at_least(1, self, "merge", "chunk")
        _one_of(self, "mixer", "ssd", "selective")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a model's parameters; stored in a model folder."""

    modalities: ModalitiesConfig = ModalitiesConfig()
    micro: MicroConfig = MicroConfig()
    macro: MacroConfig = MacroConfig()
    projection_dim: int = 64  # of the contrastive heads


@dataclass(frozen=True)
class DataSource:
    """A prepared folder and how often it is drawn from, relative to the others."""

    folder: str
    weight: float = 1.0


@dataclass(frozen=True)
class DataConfig:
    """What a run reads.

    Attributes:
      shards: prepared folders, mixed by weight.
      split: "train", "val" or "test".
      skip: leave out the first so many nights of each folder's split, in an order in which sites are mixed.
      nights: use only the next so many; None is all of them.
      scored: use only nights that somebody scored.
      embeddings: where micro tokens of a frozen Micro-Encoder are kept; None is inside the workdir.
      prefetch_bytes: memory that read-ahead may take in each process.
    """

    shards: tuple[DataSource, ...] = ()
    split: str = "train"
    skip: int = 0
    nights: int | None = None
    scored: bool = False
    embeddings: str | None = None
    prefetch_bytes: int = 64 * 2**20

    def __post_init__(self):
        _at_least(1, self, "nights", "prefetch_bytes")
        _at_least(0, self, "skip")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a warm-up and one of two schedules, counted in steps."""

    learning_rate: float = 1e-3
    schedule: str = "cosine"  # or "wsd": warm-up, stable, linear decay over the last fifth
    warmup_steps: int = 20
    weight_decay: float = 0.05
    b2: float = 0.98
    clip_norm: float = 1.0
    ema: float = 0.0  # decay of the running average of weights that is exported; 0 exports the last weights

    def __post_init__(self):
        _at_least(0, self, "learning_rate", "warmup_steps", "weight_decay", "ema")
        if self.ema >= 1:
            raise ConfigError(f"OptimizerConfig.ema: expected less than 1, found {self.ema}")


@dataclass(frozen=True)
class MicroPretraining:
    """Masked autoencoding of tokens plus leave-one-modality-out contrast, on single epochs."""

    batch: int = 32  # epochs a step, over all devices
    mask_ratio: float = 0.6
    mask_block_s: float = 3.0  # tokens are masked in runs of about this length
    drop_modality: float = 0.2  # chance that a modality is hidden whole
    spectral_weight: float = 1.0
    contrast: str = "leave_one_out"  # or "pairwise": every pair of modalities (as in CLIP)
    contrast_weight: float = 0.1
    contrast_keys: int = 0  # epochs that each is told apart from; 0: all of the batch, or of a part of it
    balance_weight: float = 0.01  # MoE load balance (Switch Transformer, eq. 4)
    router_z_weight: float = 0.001  # (ST-MoE, eq. 5)
    decoder_dim: int = 48

    def __post_init__(self):
        _at_least(1, self, "batch", "decoder_dim")
        _at_least(0, self, "contrast_keys")
        _one_of(self, "contrast", "leave_one_out", "pairwise")


@dataclass(frozen=True)
class KernelConfig:
    """DGCL: how alike two nights should be, by what is known of the two people.

    Each factor has a weight and, for age and BMI, the bandwidth of its Gaussian kernel. The paper does not publish
    these. Ours are half of what a generation (10 years) and a WHO weight class (5 kg/m2) would suggest: with kernels
    as wide as people are different, the target over a batch of some tens of nights is flat. `identity` is the weight
    of the kernel that is 1 only for two views of the same night: with the others at 0 the objective is NT-Xent
    (SimCLR). With `rule="class"` two people are alike (1) or not (0): of one sex, and within a bandwidth in age and in
    BMI, which is supervised contrast (SupCon; Khosla et al. 2020).
    """

    rule: str = "soft"  # or "class"
    age: float = 1.0
    age_years: float = 5.0
    bmi: float = 0.5
    bmi_kg_m2: float = 2.5
    sex: float = 0.25
    identity: float = 2.0

    def __post_init__(self):
        _one_of(self, "rule", "soft", "class")
        _at_least(0, self, "age", "bmi", "sex", "identity")
        _more_than(0, self, "age_years", "bmi_kg_m2")


@dataclass(frozen=True)
class MacroPretraining:
    """Demographic-guided contrastive learning (DGCL) of whole nights over frozen micro tokens."""

    batch: int = 16  # nights a step, over all devices; each gives two views
    kernel: KernelConfig = KernelConfig()
    temperature: float = 0.1
    night_epochs: int = 1152  # nights are padded or cut to this; 9.6 h
    crop: float = 0.7  # shortest share of a night that a view keeps
    drop_modality: float = 0.2
    drop_epochs: float = 0.15
    freeze_micro: bool = True  # False trains both encoders from signals, many times slower
    balance_weight: float = 0.01  # of the Micro-Encoder's router, where it is trained
    router_z_weight: float = 0.001

    def __post_init__(self):
        _at_least(1, self, "batch", "night_epochs")
        _more_than(0, self, "temperature")


@dataclass(frozen=True)
class Finetuning:
    """Heads, macro and (unless frozen) micro trained on scored windows of nights."""

    batch: int = 4  # windows a step, over all devices
    epochs: int = 30  # consecutive epochs in a window
    freeze_micro: bool = True
    drop_modality: float = (
        0.0  # chance that a modality's tokens are hidden from a window, for missing sensors
    )
    tasks: tuple[Task | str, ...] = (STAGES, BREATHING, AROUSAL)  # records, or names of those that there are
    balance_weight: float = 0.01  # of the Micro-Encoder's router, as in MicroPretraining
    router_z_weight: float = 0.001

    def __post_init__(self):
        _at_least(1, self, "batch", "epochs")
        try:
            tasks = tuple(find_task(task) if isinstance(task, str) else task for task in self.tasks)
        except ValueError as error:
            raise ConfigError(f"Finetuning.tasks: {error}") from error
        object.__setattr__(self, "tasks", tasks)
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ConfigError(f"Finetuning.tasks: expected each task once, found {', '.join(names)}")
        if not any(task.kind is TaskKind.STAGES for task in tasks):
            raise ConfigError(
                "Finetuning.tasks: expected 'stages' among them: events count where a person sleeps"
            )
        if measured := [task.name for task in tasks if task.kind is TaskKind.MEASURED]:
            raise ConfigError(
                f"Finetuning.tasks: {measured[0]!r} is measured by a rule; there is nothing to learn"
            )

    @property
    def event_tasks(self) -> tuple[Task, ...]:
        """Those of `tasks` that are events."""
        return tuple(task for task in self.tasks if task.kind is TaskKind.EVENTS)


@dataclass(frozen=True)
class ComputeConfig:
    """How the same function is computed: precision and memory, never what is learnt.

    Attributes:
      dtype: of activations and matmuls; weights, optimiser and all that is summed or exponentiated stay float32.
      remat: what the backward pass computes again: "none", "full" (whole blocks), or "names" (all but the named
        outputs of matmuls).
      scan: run the blocks of a stack as one scanned body, which compiles faster and is right for accelerators; on
        CPU unrolled blocks are faster.
    """

    dtype: str = "float32"  # or "bfloat16"
    remat: str = "none"
    scan: bool = False

    def __post_init__(self):
        _one_of(self, "dtype", "float32", "bfloat16")
        _one_of(self, "remat", "none", "full", "names")


@dataclass(frozen=True)
class MeshConfig:
    """How many devices each axis of the mesh has; see `training.sharding`. A run may go on with another mesh.

    Attributes:
      data: groups of devices that hold everything alike; 0 is as many as there are devices for.
      fsdp: devices that share large parameters and the optimiser's numbers among them.
      expert: devices that share the experts among them.
    """

    data: int = 0
    fsdp: int = 1
    expert: int = 1

    def __post_init__(self):
        _at_least(0, self, "data")
        _at_least(1, self, "fsdp", "expert")


@dataclass(frozen=True)
class Experiment:
    """One training run.

    Attributes:
      objective: what is learnt; its class decides which part of the model is trained.
      init: a model folder to start from; None starts from random parameters.
      steps: optimiser steps in all.
      save_every: steps between checkpoints.
      accumulate: parts in which a batch is computed one after another, for batches that do not fit.
      tensorboard: also write metrics as TensorBoard events, to `workdir/tensorboard`.
    """

    name: str
    objective: MicroPretraining | MacroPretraining | Finetuning
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig = MeshConfig()
    init: str | None = None
    steps: int = 100
    save_every: int = 50
    seed: int = 0
    accumulate: int = 1
    tensorboard: bool = False

    def __post_init__(self):
        _at_least(1, self, "steps", "save_every", "accumulate")
        _at_least(0, self, "seed")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What this run trains heads for; nothing in pretraining."""
        return self.objective.tasks if isinstance(self.objective, Finetuning) else ()


def to_dict(config: Any) -> Any:
    """Plain JSON types."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_dict(v) for v in config]
    return config


def from_dict(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """The dataclass `cls` from plain values. Raises ConfigError on unknown or missing names, wrong types."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or cls.__name__}: expected a group of fields, found {values!r}")
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise ConfigError(_unknown(f"{where}.{name}".lstrip("."), name, hints))
    for f in dataclasses.fields(cls):
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where or cls.__name__}: {f.name} is missing")
    return cls(**{k: _convert(hints[k], v, f"{where}.{k}".lstrip(".")) for k, v in values.items()})


def override(config: Any, assignments: Sequence[str]) -> Any:
    """`config` with `a.b=c` assignments applied in order; values are JSON, or bare words for strings."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {assignment}: expected name=value, such as optimizer.learning_rate=3e-4"
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        config = _replace(config, path.strip().split("."), value, path.strip())
    return config


def load_experiment(path: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """The `get_config()` of an experiment file, with overrides applied."""
    module = load_file(path)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: an experiment file defines get_config() -> Experiment; this one does not")
    experiment = module.get_config()
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{path}: get_config() gave {experiment!r}, expected an Experiment")
    return override(experiment, assignments)


def load_file(path: str | Path) -> types.ModuleType:
    """An experiment file as a module. Raises ConfigError for a file that is not there."""
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        hint = (
            f"; did you mean {path.parent / near[0]}?" if near else "; experiments live in experiments/*.py"
        )
        raise ConfigError(f"{path}: no such experiment file{hint}")
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _replace(config, names, value, path):
    head, *rest = names
    hints = typing.get_type_hints(type(config))
    if head not in hints:
        raise ConfigError(_unknown(path, head, hints))
    if rest:
        child = getattr(config, head)
        if not dataclasses.is_dataclass(child):
            raise ConfigError(f"{path}: {head} has no fields of its own (it is {child!r})")
        return dataclasses.replace(config, **{head: _replace(child, rest, value, path)})
    return dataclasses.replace(config, **{head: _convert(hints[head], value, path)})


def _unknown(path, name, known) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    meant = ".".join(near[0] if part == name and near else part for part in path.split("."))
    return f"{path}: no such field" + (
        f"; did you mean {meant}?" if near else f"; there are {', '.join(known)}"
    )


def _convert(hint, value, path):
    """`value` as the type `hint`, or ConfigError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        if any(value.__class__ is a for a in args if dataclasses.is_dataclass(a)):
            return value
        plain = [a for a in args if a is not type(None) and not dataclasses.is_dataclass(a)]
        if plain and isinstance(value, Mapping):  # a record in place of its name
            return from_dict(next(a for a in args if dataclasses.is_dataclass(a)), value, path)
        if not plain:
            raise ConfigError(f"{path}: set its fields one by one, such as {path}.batch=8")
        return _convert(plain[0], value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            example = '[{"folder": "shards"}]' if args[0] is DataSource else '["a", "b"]'
            raise ConfigError(f"{path}: expected a list such as {example}, found {value!r}")
        return tuple(_convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, path)
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError as error:
            raise ConfigError(f"{path}: expected one of {', '.join(hint)}, found {value!r}") from error
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{path}: expected {hint.__name__}, found {value!r}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{path}: expected a finite number, found {value!r}")
    return value
