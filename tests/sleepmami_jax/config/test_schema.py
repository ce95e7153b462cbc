"""A wrong value is refused wherever it is given: in Python, by --set, in a run of a sweep."""

import json
import math
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Annotated, Literal, get_args, get_origin

import pytest

from data_pipeline.tasks import BREATHING, Task
from sleepmami_jax.config import (
    Augmentation,
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    KernelConfig,
    MacroPretraining,
    MicroPretraining,
    ModalitiesConfig,
    ModalityConfig,
    Validation,
    override,
)
from sleepmami_jax.config.ranges import Checked, hints
from sleepmami_jax.sweep import Run
from sleepmami_jax.sweep.plan import Sweep
from sleepmami_jax.sweep.result import do_run

MICRO = Experiment(name="small", objective=MicroPretraining())
MACRO = replace(MICRO, objective=MacroPretraining())
TUNED = replace(MICRO, objective=Finetuning())
VALIDATED = replace(MICRO, validation=Validation())

WRONG = [
    (MICRO, "objective.mask.time", 1.5, "at least 0 and less than 1"),
    (MICRO, "objective.mask.time", 1.0, "at least 0 and less than 1"),
    (MICRO, "objective.mask.time", -1.0, "at least 0 and less than 1"),
    (MICRO, "objective.mask.channel", 1.0, "at least 0 and less than 1"),
    (MICRO, "objective.mask.token", -0.1, "at least 0 and less than 1"),
    (MICRO, "objective.mask.token", 0.6, "shares that are less than 1 together"),
    (MICRO, "objective.mask.time_s", 0.0, "more than 0 and at most 30"),
    (MICRO, "objective.mask.time_s", 31.0, "more than 0 and at most 30"),
    (MICRO, "objective.mask.channel_s", 31.0, "more than 0 and at most 30"),
    (MICRO, "objective.drop_modality", 7.0, "from 0 to 1"),
    (MICRO, "objective.spectral_weight", -3.0, "at least 0"),
    (MICRO, "objective.contrast", "pair", "'leave_one_out' or 'pairwise'"),
    (MICRO, "objective.contrast_weight", -1.0, "at least 0"),
    (MICRO, "objective.teacher_weight", -1.0, "at least 0"),
    (MICRO, "objective.contrast_keys", -1, "at least 0"),
    (MICRO, "objective.contrast_keys", 5, "a divisor of batch=32, or 0 for all of it"),
    (MICRO, "objective.balance_weight", -0.1, "at least 0"),
    (MICRO, "objective.router_z_weight", math.inf, "a finite number"),
    (MICRO, "objective.augment.equaliser_db", -1.0, "at least 0"),
    (MICRO, "objective.augment.gain_db", -1.0, "at least 0"),
    (MICRO, "objective.augment.noise", -0.1, "at least 0"),
    (MICRO, "objective.augment.flip", 2.0, "from 0 to 1"),
    (MICRO, "objective.augment.drop_channel", 1.1, "from 0 to 1"),
    (MICRO, "objective.augment.only_eeg", -0.1, "from 0 to 1"),
    (MICRO, "objective.augment.shortest_crop", 0.0, "more than 0 and at most 1"),
    (MICRO, "objective.augment.shortest_crop", 0.5, "1, as an epoch cannot be cut"),
    (MICRO, "objective.decoder_dim", 50, "a multiple of 16"),
    (MICRO, "objective.decoder_dim", 0, "a multiple of 16"),
    (MICRO, "objective.batch", 0, "at least 1"),
    (MICRO, "optimizer.schedule", "cosin", "'cosine' or 'wsd'"),
    (MICRO, "optimizer.b2", 1.5, "at least 0 and less than 1"),
    (MICRO, "optimizer.b2", 1.0, "at least 0 and less than 1"),
    (MICRO, "optimizer.clip_norm", -1.0, "more than 0"),
    (MICRO, "optimizer.clip_norm", 0.0, "more than 0"),
    (MICRO, "optimizer.learning_rate", -1e-3, "more than 0"),
    (MICRO, "optimizer.learning_rate", math.nan, "a finite number"),
    (MICRO, "optimizer.warmup_steps", -1, "at least 0"),
    (MICRO, "optimizer.weight_decay", -1.0, "at least 0"),
    (MICRO, "optimizer.ema", 1.0, "at least 0 and less than 1"),
    (MICRO, "data.split", "trian", "'train' or 'val' or 'test'"),
    (MICRO, "data.skip", -1, "at least 0"),
    (MICRO, "data.nights", 0, "at least 1"),
    (MICRO, "data.embeddings", " ", "a word"),
    (MICRO, "data.pack", " ", "a word"),
    (MICRO, "wandb", " ", "a word"),
    (MICRO, "optimizer.skip_nonfinite", -1, "at least 0"),
    (MICRO, "data.prefetch_bytes", 0, "at least 1"),
    (MICRO, "data.workers", -1, "at least 0"),
    (MICRO, "model.micro.dim", 1, "from 2 to 65536"),
    (MICRO, "model.micro.heads", 5, "a divisor of dim=64"),
    (MICRO, "model.micro.heads", 0, "from 1 to 65536"),
    (MICRO, "model.micro.private_depth", -1, "from 0 to 100"),
    (MICRO, "model.micro.shared_depth", -1, "from 0 to 100"),
    (MICRO, "model.micro.experts", 0, "from 1 to 65536"),
    (MICRO, "model.micro.top_k", 9, "at most experts=4"),
    (MICRO, "model.micro.top_k", 0, "from 1 to 65536"),
    (MICRO, "model.micro.capacity", -1.0, "more than 0"),
    (MICRO, "model.micro.mlp_ratio", 0, "from 1 to 65536"),
    (MICRO, "model.macro.dim", 0, "from 1 to 65536"),
    (MICRO, "model.macro.levels", -1, "from 0 to 100"),
    (MICRO, "model.macro.levels", 14, "so few that merge=2 makes at most 4096 epochs one"),
    (MICRO, "model.macro.blocks_per_level", -1, "from 0 to 100"),
    (MICRO, "model.macro.merge", 0, "from 1 to 65536"),
    (MICRO, "model.macro.state", 0, "from 1 to 65536"),
    (MICRO, "model.macro.head_dim", 7, "a divisor of 128, twice dim"),
    (MICRO, "model.macro.head_dim", 64, "a divisor of 96, twice seconds_dim"),
    (MICRO, "model.macro.pool_heads", 0, "from 1 to 65536"),
    (MICRO, "model.macro.chunk", 0, "from 1 to 4096"),
    (MICRO, "model.macro.mixer", "sdd", "'ssd' or 'selective'"),
    (MICRO, "model.macro.seconds_dim", 0, "from 1 to 65536"),
    (MICRO, "model.macro.seconds_depth", -1, "from 0 to 100"),
    (MICRO, "model.macro.fast_dim", 0, "from 1 to 65536"),
    (MICRO, "model.projection_dim", 0, "from 1 to 65536"),
    (MICRO, "model.modalities.EEG.token_s", 7, "a divisor of 30"),
    (MICRO, "model.modalities.EEG.token_s", 0, "a divisor of 30"),
    (MICRO, "model.modalities.SPO2.token_s", 1, "2 samples or more"),
    (MICRO, "model.modalities.EEG.slots", (), "one or more, none twice"),
    (MICRO, "model.modalities.EEG.slots", ("C3", "C3"), "one or more, none twice"),
    (MICRO, "model.modalities.EEG.slots", ("C3", "E1"), "some of F3, F4, C3"),
    (MICRO, "compute.dtype", "float16", "'float32' or 'bfloat16'"),
    (MICRO, "compute.remat", "all", "'none' or 'full' or 'names'"),
    (MICRO, "compute.scan", 1, "true or false"),
    (MICRO, "mesh.data", -1, "at least 0"),
    (MICRO, "mesh.fsdp", 0, "at least 1"),
    (MICRO, "mesh.expert", 0, "at least 1"),
    (MICRO, "name", "", "a word"),
    (MICRO, "init", "", "a word"),
    (MICRO, "steps", 0, "at least 1"),
    (MICRO, "steps", True, "a whole number"),
    (MICRO, "save_every", 0, "at least 1"),
    (MICRO, "seed", -1, "from 0 to 2**31 - 1"),
    (MICRO, "seed", 2**31, "from 0 to 2**31 - 1"),
    (VALIDATED, "validation.every", 0, "at least 1"),
    (VALIDATED, "validation.batches", 0, "at least 1"),
    (VALIDATED, "validation.metric", "", "a word"),
    (VALIDATED, "validation.best", "low", "'lowest' or 'highest'"),
    (VALIDATED, "validation.patience", -1, "at least 0"),
    (VALIDATED, "validation.keep_best", 1, "true or false"),
    (MICRO, "accumulate", 0, "at least 1"),
    (MICRO, "accumulate", 3, "a divisor of objective.batch=32"),
    (MICRO, "tensorboard", "yes", "true or false"),
    (MACRO, "objective.batch", 0, "at least 1"),
    (MACRO, "objective.temperature", 0.0, "more than 0"),
    (MACRO, "objective.night_epochs", 0, "at least 1"),
    (MACRO, "objective.crop", 3.0, "more than 0 and at most 1"),
    (MACRO, "objective.crop", 0.0, "more than 0 and at most 1"),
    (MACRO, "objective.drop_modality", -0.1, "from 0 to 1"),
    (MACRO, "objective.drop_epochs", 1.0, "at least 0 and less than 1"),
    (MACRO, "objective.balance_weight", -1.0, "at least 0"),
    (MACRO, "objective.router_z_weight", -1.0, "at least 0"),
    (MACRO, "objective.kernel.rule", "hard", "'soft' or 'class'"),
    (MACRO, "objective.kernel.age", -1.0, "at least 0"),
    (MACRO, "objective.kernel.age_years", 0.0, "more than 0"),
    (MACRO, "objective.kernel.bmi", -1.0, "at least 0"),
    (MACRO, "objective.kernel.bmi_kg_m2", 0.0, "more than 0"),
    (MACRO, "objective.kernel.sex", -1.0, "at least 0"),
    (MACRO, "objective.kernel.identity", -1.0, "at least 0"),
    (TUNED, "objective.batch", 0, "at least 1"),
    (TUNED, "objective.epochs", 0, "at least 1"),
    (TUNED, "objective.event_windows", 1.1, "from 0 to 1"),
    (TUNED, "objective.focal", -1.0, "at least 0"),
    (TUNED, "objective.judged", -1, "at least 0"),
    (TUNED, "objective.lora_rank", -1, "at least 0"),
    (TUNED, "objective.only_new", 1, "true or false"),
    (
        replace(MICRO, objective=Finetuning(freeze_micro=False)),
        "objective.only_new",
        True,
        "false, or freeze_micro=true and",
    ),
    (TUNED, "objective.class_weight", 1.1, "from 0 to 1"),
    (TUNED, "objective.drop_modality", 1.1, "from 0 to 1"),
    (TUNED, "objective.balance_weight", -1.0, "at least 0"),
    (TUNED, "objective.router_z_weight", -1.0, "at least 0"),
    (TUNED, "objective.freeze_micro", 1, "true or false"),
    (TUNED, "objective.tasks", (3,), "Task or str"),
]
RIGHT = [
    (MICRO, "objective.mask.time", 0.0),
    (MICRO, "objective.mask.channel_s", 30.0),
    (MICRO, "objective.drop_modality", 1.0),
    (MICRO, "objective.contrast_keys", 16),
    (MICRO, "objective.decoder_dim", 16),
    (MICRO, "model.micro.experts", 1),  # has no router, and no top_k
    (MICRO, "model.macro.levels", 13),
    (MICRO, "optimizer.b2", 0.0),
    (MICRO, "seed", 2**31 - 1),
    (MACRO, "objective.crop", 1.0),
    (TUNED, "objective.tasks", ("stages", Task("snore", events=("snoring",), needs=("RESP",)))),
]


def made_with(config, path, value):
    """`config` with one field changed in Python, groups and all."""
    name, _, rest = path.partition(".")
    return replace(config, **{name: made_with(getattr(config, name), rest, value) if rest else value})


def said(make, *args) -> str:
    with pytest.raises(ConfigError) as caught:
        make(*args)
    return str(caught.value)


def ids(row):
    return f"{type(row[0].objective).__name__}-{row[1]}-{row[2]}"


@pytest.mark.parametrize("row", WRONG, ids=ids)
def test_a_wrong_value_is_refused_in_python(row):
    config, path, value, expected = row
    text = said(made_with, config, path, value)
    named = path.rpartition(".")[2]
    assert text.partition(":")[0].removesuffix("[0]").endswith(f".{named}") and f": expected {expected}" in text
    assert f"found {value[0] if value == (3,) else value!r}" in text


@pytest.mark.parametrize("row", WRONG, ids=ids)
def test_a_wrong_value_is_refused_by_set(row):
    config, path, value, expected = row
    text = said(override, config, [f"{path}={value if value == ' ' else json.dumps(value)}"])
    where = text.partition(":")[0].removesuffix("[0]")
    assert where.endswith(path.rpartition(".")[2]) and f": expected {expected}" in text


def run_with(workdir, config, path, value):
    made_with(config, path, value)
    return {"done": 1.0}


@pytest.mark.parametrize("row", WRONG, ids=ids)
def test_a_wrong_value_is_refused_by_a_run_of_a_sweep(row, tmp_path):
    config, path, value, expected = row
    run = Run("run", partial(run_with, config=config, path=path, value=value))
    sweep = Sweep(tmp_path / "file.py", "", {"run": run}, (), {"run": {}})
    assert f": expected {expected}" in said(do_run, sweep, tmp_path, "run")
    assert not (tmp_path / "runs" / "run" / "result.json").exists()


def test_a_teacher_needs_the_running_average_that_it_is():
    said_of = said(override, MICRO, ["objective.teacher_weight=1.0"])
    assert said_of.startswith("optimizer.ema: expected more than 0: the teacher is that average, found 0.0")
    taught = override(MICRO, ["objective.teacher_weight=1.0", "optimizer.ema=0.999"])
    assert (taught.objective.teacher_weight, taught.optimizer.ema) == (1.0, 0.999)


@pytest.mark.parametrize("row", RIGHT, ids=ids)
def test_what_lies_at_the_edge_is_taken(row):
    made_with(*row)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DataSource(""), "DataSource.folder: expected a word, found ''"),
        (lambda: DataSource("a", 0.0), "DataSource.weight: expected more than 0, found 0.0"),
        (lambda: DataConfig(["a"]), "DataConfig.shards: expected a tuple, found ['a']"),
        (lambda: DataConfig(("a",)), "DataConfig.shards[0]: expected DataSource, found 'a'"),
        (lambda: ModalityConfig(("C3", 4), 1), "ModalityConfig.slots[1]: expected a text, found 4"),
        (
            lambda: ModalitiesConfig(EEG=("C3",)),
            "ModalitiesConfig.EEG: expected ModalityConfig or None, found ('C3',)",
        ),
        (
            lambda: KernelConfig(age=0, bmi=0, sex=0, identity=0),
            "KernelConfig.identity: expected more than 0 where age, bmi and sex weigh nothing, found 0",
        ),
        (
            lambda: Finetuning(tasks=("stages",), event_windows=0.5),
            "Finetuning.event_windows: expected 0 without a task of events, found 0.5",
        ),
        (
            lambda: Finetuning(augment=Augmentation(flip=0.5)),
            "Finetuning.augment: expected nothing, or freeze_micro=false: frozen tokens stay as they are, "
            f"found {Augmentation(flip=0.5)}",
        ),
        (
            lambda: Experiment("a", "micro"),
            "Experiment.objective: expected MicroPretraining or MacroPretraining or Finetuning, found 'micro'",
        ),
    ],
)
def test_what_is_made_of_the_wrong_things_says_so(make, text):
    assert said(make) == text


def test_a_group_that_is_not_there_is_given_whole():
    given = override(MICRO, ['validation={"every": 5, "patience": 2}'])
    assert given.validation == Validation(every=5, patience=2)
    assert override(given, ["validation.every=7", "steps=9"]).validation == Validation(every=7, patience=2)
    assert override(given, ["validation=null"]) == MICRO
    assert "validation has no fields of its own" in said(override, MICRO, ["validation.every=5"])


def test_a_word_that_is_nearly_right_is_suggested():
    assert said(override, MICRO, ["optimizer.schedule=cosin"]).endswith("found 'cosin'; did you mean 'cosine'?")
    assert said(override, MICRO, ["data.split=trian"]).endswith("found 'trian'; did you mean 'train'?")


def classes(hint) -> set[type]:
    """The dataclasses that a value of this type is made of; but for tasks, which have checks of their own."""
    if hint is Task:
        return set()
    if not is_dataclass(hint):
        return {cls for part in get_args(hint) if not isinstance(part, str) for cls in classes(part)}
    return {hint}.union(*map(classes, hints(hint).values()))


def unsaid(hint) -> bool:
    """Whether a number or a word of this type may be any."""
    if get_origin(hint) in (Annotated, Literal) or hint == Task | str:
        return False
    return hint in (int, float, str) or any(map(unsaid, get_args(hint)))


def test_every_field_says_what_it_may_be():
    every = classes(Experiment)
    assert {MicroPretraining, KernelConfig, ModalityConfig, DataSource} < every
    for cls in every:
        assert issubclass(cls, Checked), cls
        assert not [f"{cls.__name__}.{f.name}" for f in fields(cls) if unsaid(hints(cls)[f.name])]


def test_every_field_but_flags_and_groups_is_tried_with_a_wrong_value():
    tried = {path.rpartition(".")[2] for _, path, *_ in WRONG} | {"folder", "weight"}
    names = {f.name for cls in classes(Experiment) for f in fields(cls) if not classes(hints(cls)[f.name])}
    assert names <= tried | {"bidirectional", "scored"}


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        (("breathing",), "expected 'stages' among them"),
        (("stages", "stages"), "expected each task once"),
        (("stages", "snor"), "'snor' is no task; there are stages, breathing"),
        (("stages", "oximetry"), "'oximetry' is measured by a rule"),
        (("stages", replace(BREATHING, shortest_s=5)), "'breathing' is a task by rules of its own"),
    ],
)
def test_tasks_that_cannot_be_learnt_are_refused(tasks, text):
    with pytest.raises(ConfigError, match=f"Finetuning.tasks: {text}"):
        Finetuning(tasks=tasks)
    lighter = replace(BREATHING, loss_weight=0.5)
    assert Finetuning(tasks=("stages", lighter)).tasks[1] is lighter
