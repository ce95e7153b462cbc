"""A tiny model's twin, exported once, on nights as short as they can be."""

import pytest

from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.folder import ModelFolder
from tests.support import twins


@pytest.fixture(scope="module", autouse=True)
def alone(one_thread):
    """All of these tests are of models for which several threads are a burden."""


@pytest.fixture(scope="session")
def tiny_folder() -> ModelFolder:
    return twins.tiny_folder()


@pytest.fixture(scope="session")
def short_nights(tiny) -> dict:
    """Noise of six epochs, with all sensors and without some."""
    from sleepmami_jax.twin.parity import random_night, without_sensors

    noise = random_night(model_slots(tiny), 6)
    return {"noise": noise, "sensors missing": without_sensors(noise)}


@pytest.fixture(scope="session")
def exported(tiny_folder, short_nights, tmp_path_factory):
    """The twin's folder, and what was measured when it was written."""
    pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
    from sleepmami_jax.twin.folder import write_twin

    out = tmp_path_factory.mktemp("twins") / "twin"
    return out, write_twin(tiny_folder, out, short_nights)


@pytest.fixture(scope="session")
def unmeasured(tiny_folder, tmp_path_factory):
    """The twin's folder of the tiny model, not compared with the model: that takes most of the time."""
    pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")
    return twins.write_unmeasured(tiny_folder, tmp_path_factory.mktemp("twins") / "unmeasured")
