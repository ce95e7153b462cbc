"""Micro pretraining, base, on 16 chips of TPU v5e.

    sleepmami pretrain --config experiments/micro_v5e_16.py --workdir gs://BUCKET/runs/micro --distributed

16 x TPU v5 lite: 0.21 of 16 GB a chip are state, 0.05 h.

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

CHIPS = ("TPU v5 lite", 16)


def get_config() -> Experiment:
    return Experiment(
        name="micro_v5e_16",
        objective=MicroPretraining(batch=16 * 2048, contrast_keys=1024, decoder_dim=96),
        data=DataConfig(shards=(DataSource("shards"),), pack="packs", prefetch_bytes=2**32),
        model=size("base"),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="wsd", warmup_steps=500, skip_nonfinite=10, ema=0.999),
        compute=ComputeConfig(dtype="bfloat16", remat="names", scan=True),
        accumulate=4,
        steps=10_000,
        save_every=500,
    )
