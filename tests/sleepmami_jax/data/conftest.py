"""Prepared nights for the tests of the loader."""

import pytest

from data_pipeline.prepare.run import PrepareConfig, prepare
from tests.support.nights import load_random_night, write_recordings


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Nights n1..n5 with 5, 6, 4, 5, 6 epochs, all of them for training."""
    root = tmp_path_factory.mktemp("loader")
    write_recordings(root / "in", [1, 2, 3, 4, 5])
    prepare([root / "in"], root / "out", config=PrepareConfig(0, 0), load=load_random_night)
    return root / "out"
