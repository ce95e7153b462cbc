"""What the tests share. JAX runs on the CPU with four devices, set before anything can import it."""

# ruff: noqa: E402

import gc
import os
import sys

from tests.support.compiler import keep_compiled, quick_flags

os.environ |= {"JAX_PLATFORMS": "cpu", **quick_flags("--xla_force_host_platform_device_count=4")}
keep_compiled()

from dataclasses import replace

import numpy as np
import pytest
from absl import flags

from data_pipeline.modalities import RATE_HZ, SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import Task
from sleepmami_jax.config import (
    DataConfig,
    DataSource,
    Finetuning,
    MacroConfig,
    MicroConfig,
    ModalitiesConfig,
    ModalityConfig,
    ModelConfig,
)

flags.FLAGS.mark_as_parsed()  # grain reads absl flags, which pytest does not parse

gc.set_threshold(50_000, 20, 100)  # tracing makes objects by the million that live: looking at them took a fifth of it

_BEGUN_FIRST = (  # they take longest, and the last files of a run should be short: one process waits for the other
    "sleepmami_jax/recipes/test_demo.py",
    "sleepmami_jax/training/test_loop.py",
    "sleepmami_jax/training/test_phases.py",
    "campaign/test_campaigns.py",
    "data_pipeline/prepare/test_cluster.py",
    "sleepmami_jax/run/test_processes.py",
    "sleepmami_jax/twin/test_folder.py",
    "sleepmami_jax/twin/test_onnx.py",
    "sleepmami_jax/models/test_precision.py",
    "sleepmami_jax/data/test_ahead.py",
    "sleepmami_jax/costs/test_compile.py",
    "experiments/test_people.py",
)
_TOGETHER = "data_pipeline/simulate/"  # files that look at the same nights, which take 25 s to make


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files for each process: the longest first, those of `_TOGETHER` as if they were one."""
    from xdist.scheduler.loadfile import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "tests/" + _TOGETHER if _TOGETHER in nodeid else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # which would begin with the files of the most tests
    return LongestFirst(config, log)


def pytest_collection_modifyitems(items):
    place = {f"tests/{name}": at for at, name in enumerate(_BEGUN_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


def tiny_config() -> ModelConfig:
    """A model that compiles in seconds; its experts are so small that dropping tokens would show."""
    return ModelConfig(
        modalities=ModalitiesConfig(
            EEG=ModalityConfig(("C3", "C4"), token_s=3),
            EOG=ModalityConfig(("E1",), token_s=5),
            EMG=ModalityConfig(("CHIN", "LEG_L"), token_s=6),
            ECG=ModalityConfig(("ECG",), token_s=10),
            RESP=ModalityConfig(("THORAX", "ABDOMEN"), token_s=5),
            SPO2=ModalityConfig(("SPO2",), token_s=10),
        ),
        micro=MicroConfig(dim=16, heads=2, private_depth=1, shared_depth=1, experts=3, top_k=2, capacity=0.5),
        macro=MacroConfig(dim=16, levels=3, state=4, head_dim=8, chunk=8, seconds_dim=16, seconds_depth=1),
        projection_dim=8,
    )


def shallow_config() -> ModelConfig:
    """A tiny model of few blocks, for tests that are not about blocks: it compiles in half the time."""
    tiny = tiny_config()
    macro = replace(tiny.macro, levels=1, seconds_depth=0)
    return replace(tiny, micro=replace(tiny.micro, private_depth=0), macro=macro)


def narrow_config() -> ModelConfig:
    """A shallow model of three modalities, for tests that are not about sensors either: half the time again."""
    shallow = shallow_config()
    unseen = dict.fromkeys(set(SLOTS) - {Modality.EEG, Modality.RESP, Modality.SPO2})
    return replace(shallow, modalities=replace(shallow.modalities, **unseen))


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """See `tiny_config`."""
    return tiny_config()


def random_model(config: ModelConfig, tasks: tuple[Task, ...] = Finetuning().tasks):
    """A model as `(graph, params)`. Drawn by numpy: JAX would compile a program for every shape.

    No parameter is at a value that hides a mistake, such as a bias of 0 or a gain of 1.
    """
    from sleepmami_jax.models.sleepmami import structure

    graph, shapes = structure(config, tasks=tasks)
    rng = np.random.default_rng(0)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        normal = rng.standard_normal(shape)
        match name.rsplit("/", 1)[-1]:
            case "kernel" | "up" | "down" | "conv_kernel":
                return normal * shape[-2] ** -0.5
            case "scale" | "d":
                return 1 + 0.1 * normal
            case "a_log":
                return rng.uniform(0, 2, shape)
            case "dt_bias":
                return rng.uniform(-5, -2, shape)  # steps of 0.01 to 0.1
            case _:
                return 0.1 * normal

    return graph, {name: draw(name, leaf.shape).astype(leaf.dtype) for name, leaf in shapes.items()}


@pytest.fixture(scope="session")
def model(tiny):
    """The tiny model with the usual heads, see `random_model`."""
    return random_model(tiny)


@pytest.fixture(scope="session")
def epochs_of():
    """`epochs_of(config, n, seed)`: n random epochs for the encoder, every channel there and usable."""

    def make(config: ModelConfig, n: int, seed: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        batch = {}
        for m in SLOTS:
            if config.modalities[m] is None:
                continue
            channels = len(config.modalities[m].slots)
            signal = rng.standard_normal((n, channels, EPOCH_S * RATE_HZ[m])).astype(np.float32)
            batch[m.value] = {
                "signal": signal,
                "usable": np.ones((n, channels, EPOCH_S), bool),
                "present": np.ones((n, channels), bool),
            }
        return batch

    return make


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch, where a module has imported it, computes on one thread: several wait for each other most of the time,
    so small are the models."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bucket():
    """See `tests.support.bucket`; what talks to Google Cloud Storage in this process talks to it."""
    import fsspec.config

    from tests.support.bucket import Bucket

    served = Bucket()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", served.url)
        environment.setenv("TENSORSTORE_GCS_HTTP_URL", served.url)
        environment.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
        environment.setitem(fsspec.config.conf, "gcs", {"token": "anon"})
        environment.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks Google itself
        pytest.importorskip("gcsfs", reason="needs `pip install -e .[gcs]`")
        yield served
    served.close()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A prepared folder of four nights of 4 to 6 epochs."""
    from tests.support.hosts import prepared_nights

    return DataConfig(shards=(DataSource(str(prepared_nights(tmp_path_factory.mktemp("nights")))),))
