"""An experiment as one tree of frozen dataclasses, and the only way to read, change or write one."""

# ruff: noqa: F401

from sleepmami_jax.config.files import load_experiment, load_file
from sleepmami_jax.config.ranges import ConfigError
from sleepmami_jax.config.schema import (
    Augmentation,
    ComputeConfig,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    KernelConfig,
    MacroConfig,
    MacroPretraining,
    MeshConfig,
    MicroConfig,
    MicroPretraining,
    ModalitiesConfig,
    ModalityConfig,
    ModelConfig,
    OptimizerConfig,
)
from sleepmami_jax.config.tree import from_dict, override, to_dict
from sleepmami_jax.config.validation import Validation
