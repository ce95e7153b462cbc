"""What the experiments on simulated nights begin with: the nights, and encoders pretrained on them with three seeds.

Every experiment is a sweep with a folder of its own. What they share lies beside it in `foundation/` and is made by
whichever sweep comes first: the nights, a Micro-Encoder a seed, a Macro-Encoder a seed, and micro tokens. A second
sweep that comes to one of them while it is being made stops there and says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from data_pipeline.lock import alone_in
from data_pipeline.shards.manifest import SPLITS
from sleepmami_jax.config import DataSource, Experiment, ModelConfig
from sleepmami_jax.evaluation.evaluate import measure
from sleepmami_jax.export.folder import ModelFolder, load_model, save_model
from sleepmami_jax.models.sleepmami import create
from sleepmami_jax.pretrained import load
from sleepmami_jax.recipes import finetune_tiny, macro_tiny, micro_tiny
from sleepmami_jax.sweep import Run
from sleepmami_jax.training.finetune import finetune
from sleepmami_jax.training.loop import train

from . import cohort
from .night_probes import night_probe
from .token_probes import token_nights, token_probe

SEEDS = (0, 1, 2)
PROBED = {"train": 24, "test": 20}  # nights, where tokens are made anew for every run
NIGHT_EPOCHS = 432  # of the longest night, 3.6 h


def base(sweep: Path) -> Path:
    """The folder that the sweeps share."""
    return sweep.parent / "foundation"


def shards(sweep: Path) -> str:
    """The prepared nights."""
    return str(base(sweep) / "cohort" / "shards")


def here(experiment: Experiment, sweep: Path, **changes) -> Experiment:
    """An experiment on the shared nights and micro tokens, with other changes of its fields."""
    data = replace(experiment.data, shards=(DataSource(shards(sweep)),), embeddings=str(base(sweep) / "embeddings"))
    return replace(experiment, data=data, **changes)


def micro_experiment(sweep: Path, seed: int) -> Experiment:
    """The Micro-Encoder by masked autoencoding and contrast."""
    return here(micro_tiny.get_config(), sweep, seed=seed, steps=600, save_every=300)


def macro_experiment(sweep: Path, seed: int) -> Experiment:
    """The Macro-Encoder by DGCL over the Micro-Encoder of the same seed."""
    config = macro_tiny.get_config()
    objective = replace(config.objective, batch=16, night_epochs=NIGHT_EPOCHS)
    optimizer = replace(config.optimizer, learning_rate=1e-3)
    init = str(base(sweep) / f"micro-{seed}" / "model")
    return here(
        config,
        sweep,
        seed=seed,
        steps=150,
        save_every=75,
        objective=objective,
        optimizer=optimizer,
        init=init,
    )


def finetuning(sweep: Path, seed: int, nights: int | None) -> Experiment:
    """Heads and Macro-Encoder on labelled nights, others for each seed; what it begins with is left open."""
    config = here(finetune_tiny.get_config(), sweep, seed=seed, steps=200, save_every=100)
    skip = 0 if nights is None else 30 * seed
    return replace(config, data=replace(config.data, skip=skip, nights=nights))


def make_nights(sweep: Path) -> dict[str, float]:
    with alone_in(base(sweep) / "cohort"):
        cohort.make(base(sweep) / "cohort")
    return {}


def pretrain(sweep: Path, encoder: str, seed: int) -> dict[str, float]:
    experiment = {"micro": micro_experiment, "macro": macro_experiment}[encoder](sweep, seed)
    train(experiment, base(sweep) / f"{encoder}-{seed}")  # for one process at a time
    return {}


def make_tokens(sweep: Path, seed: int) -> dict[str, float]:
    """Micro tokens of all nights, once: runs side by side would each make them."""
    with alone_in(base(sweep) / f"micro-{seed}"):
        model = load(base(sweep) / f"micro-{seed}" / "model")
        for split in SPLITS:
            token_nights(model, [shards(sweep)], split=split, embeddings=base(sweep) / "embeddings")
    return {}


def transplanted(source: Path, config: ModelConfig, out: Path, seed: int) -> str:
    """A model folder of another configuration with the Micro-Encoder of `source`; the rest is random."""
    folder = load_model(source)
    fresh = {name: value for name, value in create(config, seed)[1].items() if not name.startswith("micro/")}
    kept = {name: value for name, value in folder.params.items() if name.startswith("micro/")}
    save_model(ModelFolder(config, {**fresh, **kept}, card=folder.card), out)
    return str(out)


def finetuned(experiment: Experiment, sweep: Path, name: str) -> dict[str, float]:
    """Fine-tunes in the run's folder and measures on all test nights."""
    folder = sweep / "runs" / name
    frozen = experiment.objective.freeze_micro
    embeddings = base(sweep) / "embeddings" if frozen else folder / "embeddings"
    data = replace(experiment.data, embeddings=str(embeddings))
    model = finetune(replace(experiment, data=data), folder / "train", quiet=True)
    measures = measure(model, [shards(sweep)], embeddings=embeddings)
    if not frozen:
        shutil.rmtree(embeddings)
    return measures


def night_measures(model: Path, sweep: Path, *, macro: bool = True) -> dict[str, float]:
    """Probes of the vectors of nights; without `macro`, of means and deviations of their micro tokens.

    All of it on the people that no encoder saw, validation and test: a probe learns from two thirds of them and is
    measured on the rest, by turns. Vectors of the people that DGCL was trained on hold their age better than those of
    others, and a probe that learns from them trusts them too much.
    """
    model, embeddings = load(model), base(sweep) / "embeddings"
    nights = [
        night
        for split in ("val", "test")
        for night in token_nights(model, [shards(sweep)], split=split, embeddings=embeddings)
    ]
    vectors = np.stack([model.vector(*n.folder.tokens(n.night)) if macro else n.statistics() for n in nights])
    facts = [n.facts() for n in nights]
    parts = GroupKFold(3, shuffle=True, random_state=0).split(vectors, groups=[f.subject_id for f in facts])
    turns = [
        night_probe(vectors[own], [facts[i] for i in own], vectors[others], [facts[i] for i in others])
        for own, others in parts
    ]
    return {name: float(np.mean([turn[name] for turn in turns])) for name in turns[0]}


def token_measures(model: Path, sweep: Path, folder: Path) -> dict[str, float]:
    """Probes of the micro tokens of some nights, which are made in the run's folder and not kept."""
    model, embeddings = load(model), folder / "embeddings"
    train, test = (
        token_nights(model, [shards(sweep)], split=split, nights=nights, embeddings=embeddings)
        for split, nights in PROBED.items()
    )
    measures = token_probe(train, test)
    shutil.rmtree(embeddings)
    return measures


def measures_with(model: Path, sweep: Path, sensors: Sequence[str], folder: Path) -> dict[str, float]:
    """What a fine-tuned model reaches on some test nights of which it sees these sensors only; all if empty."""
    embeddings = folder / "embeddings"
    measures = measure(model, [shards(sweep)], nights=PROBED["test"], only=sensors, embeddings=embeddings)
    shutil.rmtree(embeddings)
    return measures


def foundation(*encoders: str) -> tuple[Run, ...]:
    """The runs that make the nights and, for each seed, "micro" with its tokens, and "macro"."""
    runs = [Run("nights", make_nights)]
    for seed in SEEDS if encoders else ():
        micro, tokens, macro = (f"{name}-{seed}" for name in ("micro", "tokens", "macro"))
        runs.append(Run(micro, partial(pretrain, encoder="micro", seed=seed), after=("nights",)))
        runs.append(Run(tokens, partial(make_tokens, seed=seed), after=(micro,)))
        if "macro" in encoders:
            runs.append(Run(macro, partial(pretrain, encoder="macro", seed=seed), after=(tokens,)))
    return tuple(runs)
