"""An experiment as one tree of frozen dataclasses, and the only way to read, change or write one."""

# ruff: noqa: F401

from sleepmami_jax.config.files import load_experiment, load_file
from sleepmami_jax.config.pretraining import (
    Augmentation,
    KernelConfig,
    MacroPretraining,
    Masking,
    MicroPretraining,
)
from sleepmami_jax.config.ranges import ConfigError
from sleepmami_jax.config.schema import (
    ComputeConfig,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    MacroConfig,
    MeshConfig,
    MicroConfig,
    ModalitiesConfig,
    ModalityConfig,
    ModelConfig,
    OptimizerConfig,
)
from sleepmami_jax.config.tree import from_dict, override, to_dict
from sleepmami_jax.config.validation import Validation
