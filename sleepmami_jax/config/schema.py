"""What can be set: an experiment as one tree of frozen dataclasses, each field with its range.

A field is read where it is used and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from data_pipeline.modalities import MODALITIES, Modality
from data_pipeline.shards.manifest import SPLITS
from data_pipeline.tasks import AROUSAL, BREATHING, STAGES, TASKS, Task, TaskKind, find_task
from sleepmami_jax.config.pretraining import Augmentation, MacroPretraining, MicroPretraining
from sleepmami_jax.config.ranges import (
    BelowOne,
    Chance,
    Checked,
    Chunk,
    Count,
    Depth,
    Natural,
    Positive,
    Seed,
    Size,
    Text,
    Texts,
    TokenSeconds,
    Weight,
    Width,
)
from sleepmami_jax.config.validation import Validation


@dataclass(frozen=True)
class ModalityConfig(Checked):
    """How one modality becomes tokens."""

    slots: Texts  # canonical channels the model looks at, some of `night.SLOTS`
    token_s: TokenSeconds  # of one token: slow signals need fewer


_USUAL = {m: ModalityConfig(facts.slots, facts.token_s) for m, facts in MODALITIES.items() if facts.token_s is not None}
"""All channels of a modality, in tokens of their usual length, which a side channel has not."""


@dataclass(frozen=True)
class ModalitiesConfig(Checked):
    """The modalities that a model looks at, in the order of their tokens; None is not looked at."""

    EEG: ModalityConfig | None = _USUAL[Modality.EEG]
    EOG: ModalityConfig | None = _USUAL[Modality.EOG]
    EMG: ModalityConfig | None = _USUAL[Modality.EMG]
    ECG: ModalityConfig | None = _USUAL[Modality.ECG]
    RESP: ModalityConfig | None = _USUAL[Modality.RESP]
    SPO2: ModalityConfig | None = _USUAL[Modality.SPO2]
    PPG: ModalityConfig | None = None  # side channels, looked at where a token's length is given
    SNORE: ModalityConfig | None = None
    POSITION: ModalityConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(any(vars(self).values()), "EEG", "a modality to look at, as all others are None")
        for name, config in vars(self).items():
            if config is not None:
                m = Modality(name)
                slots = m.facts.slots
                self.expect({*config.slots} <= {*slots}, f"{m}.slots", f"some of {', '.join(slots)}")
                has_spectrum = config.token_s * m.facts.rate_hz > 1
                self.expect(has_spectrum, f"{m}.token_s", "2 samples or more, as one has no spectrum")

    def __getitem__(self, modality: Modality) -> ModalityConfig:
        return getattr(self, modality.value)


@dataclass(frozen=True)
class MicroConfig(Checked):
    """The Micro-Encoder: private blocks per modality, then shared blocks with a mixture of experts."""

    dim: Width = 64
    heads: Size = 4
    private_depth: Depth = 1
    shared_depth: Depth = 2
    experts: Size = 4
    top_k: Size = 2
    capacity: Positive = 1.5  # slots per expert in training over an even split; scoring drops nothing
    mlp_ratio: Size = 2  # hidden width of an MLP, or of one expert, over dim

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(self.dim % self.heads == 0, "heads", f"a divisor of dim={self.dim}")
        one = self.experts == 1  # and no router
        self.expect(one or self.top_k <= self.experts, "top_k", f"at most experts={self.experts}")


@dataclass(frozen=True)
class MacroConfig(Checked):
    """The Macro-Encoder: bidirectional SSD blocks with patch merging between levels."""

    dim: Size = 64
    levels: Depth = 3  # 0 is no context at all: epochs are what the Micro-Encoder made of them
    blocks_per_level: Depth = 1
    merge: Size = 2  # M of the paper, never published
    state: Size = 16  # N of Mamba-2
    head_dim: Size = 32
    pool_heads: Size = 4  # of the attention that makes one vector of the night
    chunk: Chunk = 16  # SSD chunk: about `state` is best on CPU, 256 on TPU
    mixer: Literal["ssd", "selective"] = "ssd"  # the other is Mamba-1's scan, many times slower
    bidirectional: bool = True  # False reads from sleep onset only
    seconds_dim: Size = 48  # width of the dense path back to seconds
    seconds_depth: Depth = 2
    fast_dim: Size = 24  # width of the path to parts of a second, which waves of the EEG are told from

    def __post_init__(self) -> None:
        super().__post_init__()
        for width in ("dim", "seconds_dim") if self.mixer == "ssd" else ():
            inner = 2 * getattr(self, width)
            self.expect(inner % self.head_dim == 0, "head_dim", f"a divisor of {inner}, twice {width}")
        merged = max(0, self.levels - 1) * math.log2(self.merge)
        self.expect(merged <= 12, "levels", f"so few that merge={self.merge} makes at most 4096 epochs one")


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Everything that decides the shape of a model's parameters; stored in a model folder."""

    modalities: ModalitiesConfig = ModalitiesConfig()
    micro: MicroConfig = MicroConfig()
    macro: MacroConfig = MacroConfig()
    projection_dim: Size = 64  # of the contrastive heads


@dataclass(frozen=True)
class DataSource(Checked):
    """A prepared folder and how often it is drawn from, relative to the others."""

    folder: Text
    weight: Positive = 1.0


@dataclass(frozen=True)
class DataConfig(Checked):
    """What a run reads."""

    shards: tuple[DataSource, ...] = ()  # mixed by weight
    split: Literal[SPLITS] = "train"  # type: ignore[valid-type]
    skip: Natural = 0  # so many first nights of each folder's split, in an order in which sites are mixed
    nights: Count | None = None  # use only the next so many; None is all of them
    scored: bool = False  # use only nights that somebody scored
    pack: Text | None = None  # a folder of packs (`sleepmami pack`); on a disk they also fill as a run reads
    embeddings: Text | None = None  # where a frozen Micro-Encoder's tokens are kept; None: in the workdir
    prefetch_bytes: Count = 64 * 2**20  # memory that read-ahead may take in each process of a run, workers and all
    workers: Natural = 0  # processes that each process of a run reads with; 0 reads in its threads


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """AdamW with a warm-up and one of two schedules, counted in steps."""

    learning_rate: Positive = 1e-3
    schedule: Literal["cosine", "wsd"] = "cosine"  # "wsd": linear decay over the last fifth
    warmup_steps: Natural = 20
    weight_decay: Weight = 0.05
    b2: BelowOne = 0.98
    clip_norm: Positive = 1.0
    skip_nonfinite: Natural = (
        0  # so many steps in all may have a loss or gradient that is no number, and change nothing
    )
    ema: BelowOne = 0.0  # decay of the running average of weights that is exported; 0 exports the last weights


@dataclass(frozen=True)
class Finetuning(Checked):
    """Heads, macro and (unless frozen) micro trained on scored windows of nights."""

    batch: Count = 4  # windows a step, over all devices
    epochs: Count = 30  # consecutive epochs in a window
    freeze_micro: bool = True
    only_new: bool = False  # train heads that the model it begins with lacks, and leave it all that it says
    lora_rank: Natural = 0  # of adapters to what the model it begins with has learnt; 0 trains the weights themselves
    drop_modality: Chance = 0.0  # chance that a modality is hidden from a window, for missing sensors
    tasks: tuple[Task | str, ...] = (STAGES, BREATHING, AROUSAL)  # records, or names of those that there are
    event_windows: Chance = 0.0  # share of windows laid about an event: of each task, and each class of it, as often
    focal: Weight = 0.0  # exponent of focal loss (Lin et al. 2017): what is easy counts less
    class_weight: Chance = 0.0  # exponent of a class's inverse frequency in the run's nights; the mean weight is 1
    balance_weight: Weight = 0.01  # of the Micro-Encoder's router, as in MicroPretraining
    router_z_weight: Weight = 0.001
    augment: Augmentation = field(default_factory=Augmentation)  # of signals, so with freeze_micro=false
    judged: Natural = 48  # nights, as they are or with something put wrong, from which it learns when it is wrong

    def __post_init__(self) -> None:
        super().__post_init__()
        still = self.freeze_micro and not self.lora_rank
        self.expect(still or not self.only_new, "only_new", "false, or freeze_micro=true and lora_rank=0")
        possible = not self.freeze_micro or self.augment == Augmentation()
        self.expect(possible, "augment", "nothing, or freeze_micro=false: frozen tokens stay as they are")
        try:
            tasks = tuple(find_task(task) if isinstance(task, str) else task for task in self.tasks)
        except ValueError as error:
            raise self.error("tasks", str(error)) from error
        object.__setattr__(self, "tasks", tasks)
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise self.error("tasks", f"expected each task once, found {', '.join(names)}")
        self.expect(
            not self.event_windows or any(t.kind is TaskKind.EVENTS for t in tasks),
            "event_windows",
            "0 without a task of events",
        )
        if not any(task.kind is TaskKind.STAGES for task in tasks):
            raise self.error("tasks", "expected 'stages' among them: events count where a person sleeps")
        if measured := [task.name for task in tasks if task.kind is TaskKind.MEASURED]:
            raise self.error("tasks", f"{measured[0]!r} is measured by a rule; there is nothing to learn")
        for task in tasks:
            known = next((known for known in TASKS if known.name == task.name), task)
            if replace(task, loss_weight=known.loss_weight) != known:
                raise self.error("tasks", f"{task.name!r} is a task by rules of its own; expected another name")

    @property
    def event_tasks(self) -> tuple[Task, ...]:
        """Those of `tasks` that are events, or types of them."""
        return tuple(task for task in self.tasks if isinstance(task, Task) and task.kind is not TaskKind.STAGES)


@dataclass(frozen=True)
class ComputeConfig(Checked):
    """How the same function is computed: precision and memory, never what is learnt.

    `dtype` is that of activations and matmuls; weights, optimiser and all that is summed or exponentiated stay float32.
    `remat` is what the backward pass computes again: whole blocks ("full"), or all but outputs of matmuls ("names").
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "full", "names"] = "none"
    scan: bool = False  # a stack's blocks as one body: compiles faster, for accelerators; slower on CPU


@dataclass(frozen=True)
class MeshConfig(Checked):
    """How many devices each axis of the mesh has; see `training.sharding`. A run may go on with another mesh."""

    data: Natural = 0  # groups of devices that hold everything alike; 0 is as many as there are devices for
    fsdp: Count = 1  # devices that share large parameters and the optimiser's numbers among them
    expert: Count = 1  # devices that share the experts among them


@dataclass(frozen=True)
class Experiment(Checked):
    """One training run."""

    name: Text
    objective: MicroPretraining | MacroPretraining | Finetuning  # decides which part of the model is trained
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig = MeshConfig()
    init: Text | None = None  # a model folder, "bundled" or owner/name[@revision] of the hub; None is random
    steps: Count = 100  # of the optimiser, in all
    save_every: Count = 50  # steps between checkpoints
    validation: Validation | None = None  # on held-out nights, as the run goes; None is not measured
    seed: Seed = 0
    accumulate: Count = 1  # parts in which a batch that does not fit is computed one after another
    tensorboard: bool = False  # also write metrics as TensorBoard events, to `workdir/tensorboard`
    wandb: Text | None = None  # a project of Weights & Biases that metrics go to as well

    def __post_init__(self) -> None:
        super().__post_init__()
        batch = self.objective.batch
        self.expect(batch % self.accumulate == 0, "accumulate", f"a divisor of objective.batch={batch}")
        adapted = isinstance(self.objective, Finetuning) and self.objective.lora_rank > 0
        self.expect(not adapted or self.init is not None, "init", "a model to adapt, or objective.lora_rank=0")
        added = isinstance(self.objective, Finetuning) and self.objective.only_new
        self.expect(not added or self.init is not None, "init", "a model to add heads to, or objective.only_new=false")
        taught = isinstance(self.objective, MicroPretraining) and self.objective.teacher_weight > 0
        self.expect(not taught or self.optimizer.ema > 0, "optimizer.ema", "more than 0: the teacher is that average")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What this run trains heads for; nothing in pretraining."""
        given = self.objective.tasks if isinstance(self.objective, Finetuning) else ()
        return tuple(task for task in given if isinstance(task, Task))
