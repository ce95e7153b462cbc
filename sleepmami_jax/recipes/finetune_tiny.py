"""Staging, breathing events and arousals from six scored nights, on a finished `macro_tiny` run.

    sleepmami finetune --config finetune_tiny --workdir runs/finetune

A minute on two CPU cores: the Micro-Encoder stays frozen. `sleepmami demo` runs it and prints what it
reached.
"""

from sleepmami_jax.config import DataConfig, DataSource, Experiment, Finetuning, OptimizerConfig


def get_config() -> Experiment:
    return Experiment(
        name="finetune-tiny",
        objective=Finetuning(batch=4, epochs=60, freeze_micro=True, judged=16),
        data=DataConfig(shards=(DataSource("shards"),), nights=6, scored=True, embeddings="embeddings"),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=10),
        init="runs/macro/model",
        steps=100,
        save_every=50,
    )
