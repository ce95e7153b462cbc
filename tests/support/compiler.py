"""How JAX compiles in the tests: for models that run a few steps, compiling was most of the time."""

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version

_FLAGS = ["--xla_backend_optimization_level=0"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # later ones emit all fusions so, and know no such flag
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")  # without them, compiling takes half the time


def quick_flags(*more: str) -> dict[str, str]:
    """The environment in which XLA is quick to compile, and its programs are slow."""
    return {"XLA_FLAGS": " ".join([*_FLAGS, *more])}


def keep_compiled() -> None:
    """What one process of this session has compiled, the others and its next run of training read from a folder."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"  # a toy's step takes less than JAX's second
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
