"""The Macro-Encoder by DGCL over the frozen micro tokens of a finished `micro_tiny` run.

    sleepmami pretrain --config macro_tiny --workdir runs/macro

About a minute on two CPU cores, most of it to embed the nights. `sleepmami demo` runs it and prints what it reached.
"""

from sleepmami_jax.config import DataConfig, DataSource, Experiment, MacroPretraining, OptimizerConfig


def get_config() -> Experiment:
    return Experiment(
        name="macro-tiny",
        objective=MacroPretraining(batch=10, temperature=0.5, crop=0.8, drop_modality=0.1),
        data=DataConfig(shards=(DataSource("shards"),), embeddings="embeddings"),
        optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=10),
        init="runs/micro/model",
        steps=30,
        save_every=15,
    )
