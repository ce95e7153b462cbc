"""A population that the tests of this room share."""

from pathlib import Path

import pytest

from tests.support.populations import prepared


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("base"), range(12))
