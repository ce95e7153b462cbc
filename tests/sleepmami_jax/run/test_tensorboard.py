"""Metrics as TensorBoard events; that they are those of the journal is in `training/test_loop.py`."""

from __future__ import annotations

import sys

import pytest

from sleepmami_jax.config import ConfigError


def test_tensorboard_that_is_not_installed_is_named(toy_experiment, train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ConfigError, match=r"tensorboard=true: .* `pip install 'sleepmami\[tensorboard\]'`"):
        train(toy_experiment, tmp_path)
