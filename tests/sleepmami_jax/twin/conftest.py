"""A tiny model's twin, exported once, on nights as short as they can be."""

import pytest

from data_pipeline.tasks import TASKS, TaskKind
from sleepmami_jax.data.frozen import model_slots
from sleepmami_jax.export.folder import ModelFolder
from tests.conftest import random_model

HEADS = tuple(task for task in TASKS if task.kind is not TaskKind.MEASURED)


@pytest.fixture(scope="session")
def tiny_folder(tiny) -> ModelFolder:
    """The tiny model with heads of all tasks, also those that look eight times a second."""
    thresholds = {task.name: 0.5 for task in TASKS if task.kind is TaskKind.EVENTS}
    return ModelFolder(tiny, random_model(tiny, HEADS)[1], HEADS, thresholds)


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
    from sleepmami_jax.twin import folder, parity

    out = tmp_path_factory.mktemp("twins") / "unmeasured"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("measure", "check", "table"):
            patch.setattr(parity, name, lambda *_: "")
        folder.write_twin(tiny_folder, out, {})
    return out
