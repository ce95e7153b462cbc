"""The experiment file of a small sweep, and where it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweeps import EXPERIMENT


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def workdir(tmp_path) -> Path:
    return tmp_path / "sweep"
