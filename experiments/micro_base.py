"""The Micro-Encoder, base, on a slice of 256 TPU v5e chips, or with `--set objective.batch=…` on fewer.

    sleepmami pretrain --config experiments/micro_base.py --workdir gs://BUCKET/runs/micro --distributed

Nobody has run it. `experiments/pods.py` compiles its step: what a chip needs, and why the batch is as large as it is.
The step size is that of `micro_tiny` halved for the width, and wants a search.
"""

from sleepmami_jax.config import (
    ComputeConfig,
    DataConfig,
    DataSource,
    Experiment,
    MicroPretraining,
    OptimizerConfig,
)
from sleepmami_jax.costs.sizes import size


def get_config() -> Experiment:
    return Experiment(
        name="micro-base",
        objective=MicroPretraining(batch=256 * 2048, contrast_keys=1024, decoder_dim=96),
        data=DataConfig(shards=(DataSource("shards"),), prefetch_bytes=2**32),
        model=size("base"),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="wsd", warmup_steps=500, ema=0.999),
        compute=ComputeConfig(dtype="bfloat16", remat="names", scan=True),
        accumulate=4,
        steps=10_000,
        save_every=500,
    )
