"""A tiny model's twin, exported once, on nights as short as they can be."""

import pytest

from sleepmami_jax.config import Finetuning
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.folder import ModelFolder


@pytest.fixture(scope="session")
def tiny_folder(tiny, model) -> ModelFolder:
    thresholds = {"breathing": 0.4, "arousal": 0.5, "limb_movement": 0.5, "spindle": 0.5, "k_complex": 0.5}
    tasks = Finetuning().tasks
    return ModelFolder(tiny, model[1], tasks, {t.name: thresholds[t.name] for t in tasks if t.name in thresholds})


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
