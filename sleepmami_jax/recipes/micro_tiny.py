"""The Micro-Encoder, tiny, on whatever lies in ./shards: to see that everything works.

    sleepmami simulate --out recordings --nights 24
    sleepmami prepare recordings --out shards
    sleepmami pretrain --config micro_tiny --workdir runs/micro

About a minute on two CPU cores. `sleepmami demo` runs it and prints what it reached.
"""

from sleepmami_jax.config import DataConfig, DataSource, Experiment, MicroPretraining, OptimizerConfig


def get_config() -> Experiment:
    return Experiment(
        name="micro-tiny",
        objective=MicroPretraining(batch=32),
        data=DataConfig(shards=(DataSource("shards"),)),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=30),
        steps=180,
        save_every=90,
    )
