"""Micro pretraining, base, on one H100.

    sleepmami pretrain --config experiments/micro_one_gpu.py --workdir runs/micro --profile 5

1 x NVIDIA H100 80GB HBM3: 0.21 of 80 GB a chip are state, 0.02 h.

Hours are those of 10,000 steps at the rate of the data sheet; a step takes longer, by memory and narrow layers (the
compiled programs of `experiments/pods.py` say by how much on TPUs): divide by the MFU that `clock.jsonl` has after the
first fifty steps. Nobody has run it. `sleepmami pack` the shards first: docs/scale.md.
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

CHIPS = ("NVIDIA H100 80GB HBM3", 1)


def get_config() -> Experiment:
    return Experiment(
        name="micro_one_gpu",
        objective=MicroPretraining(batch=4096, contrast_keys=1024, decoder_dim=96),
        data=DataConfig(shards=(DataSource("shards"),), pack="packs", prefetch_bytes=2**32),
        model=size("base"),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="wsd", warmup_steps=500, skip_nonfinite=10, ema=0.999),
        compute=ComputeConfig(dtype="bfloat16", remat="names", scan=True),
        accumulate=1,
        steps=10_000,
        save_every=500,
    )
