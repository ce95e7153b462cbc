"""How fast the PyTorch twin of the bundled model reads a whole night, beside the model itself in JAX.

    python benchmarks/twin.py [--hours 8] [--rounds 5]

Signals -> micro tokens -> vector, stages and events, of a night of noise on every channel, in float32; compiling and
loading are not counted. Then what comes before: a simulated night's samples, in arrays as recorded -> those signals, by
the package and by the twin's NumPy. Both read the same night in turns, in one process: medians of seconds, also of the
CPU's, which other work on the machine disturbs less, and of the ratios in a round. Last how long it takes to import the
twin, beside torch alone, in new processes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def nights(hours: float, rounds: int) -> None:
    """Prints seconds of a night in JAX and in PyTorch, and their ratio."""
    import numpy as np

    from data_pipeline.night import EPOCH_S
    from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
    from sleepmami_jax.pretrained import load
    from sleepmami_jax.twin.folder import twin_module, write_files
    from sleepmami_jax.twin.parity import random_night

    ours, epochs = load(), int(hours * 3600 / EPOCH_S)
    whole = random_night(ours.slots, epochs)
    with tempfile.TemporaryDirectory() as folder:
        write_files(ours.folder, Path(folder))
        twin = twin_module().load(folder)

    def blocks():
        for start in range(0, epochs, BLOCK_EPOCHS):
            part = {m: tuple(v[start : start + BLOCK_EPOCHS] for v in pair) for m, pair in whole.items()}
            lacking = BLOCK_EPOCHS - len(next(iter(part.values()))[0])
            padded = {
                m: [np.pad(v, [(0, lacking)] + [(0, 0)] * (v.ndim - 1)) for v in pair] for m, pair in part.items()
            }
            yield {m: {"signal": x, "usable": ok, "present": ok.any(-1)} for m, (x, ok) in padded.items()}

    def jax_night() -> np.ndarray:
        return ours.infer(*ours.encoded(blocks(), epochs), ()).stage_probs

    def torch_night() -> np.ndarray:
        return twin.said_of(whole)[0]["stages"]

    apart = abs(jax_night() - torch_night()).max()  # compiles, too
    print(f"a night of {hours:g} h, {rounds} rounds; stages' probabilities at most {apart:.1g} apart")
    in_turns({"JAX": jax_night, "PyTorch": torch_night}, rounds)


def in_turns(two: dict[str, Callable[[], object]], rounds: int) -> None:
    """Prints seconds of both, and the second's beside the first's."""

    def timed(work: Callable[[], object]) -> tuple[float, float]:
        begun, of_cpu = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - begun, time.process_time() - of_cpu

    pairs = [tuple(map(timed, two.values())) for _ in range(rounds)]
    for what, place in (("seconds", 0), ("CPU seconds", 1)):
        medians = (statistics.median(side[place] for side in sides) for sides in zip(*pairs, strict=True))
        ratio = statistics.median(other[place] / one[place] for one, other in pairs)
        each = ", ".join(f"{name} {median:.2f}" for name, median in zip(two, medians, strict=True))
        print(f"  {what}: {each}, ratio {ratio:.2f}", flush=True)


def preparing(hours: float, rounds: int) -> None:
    """Prints seconds that a night's signals take, from arrays as recorded, in the package and in the twin."""
    import numpy as np

    from data_pipeline.load import load_night, open_night
    from data_pipeline.simulate import simulate_cohort
    from sleepmami_jax.data.arrays import night_signals
    from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
    from sleepmami_jax.pretrained import load
    from sleepmami_jax.twin.folder import twin_module
    from sleepmami_jax.twin.preprocessing import preprocessing

    ours, signals = load(), sys.modules[twin_module().ScoresArrays.__module__]
    given = {}
    with tempfile.TemporaryDirectory() as folder:
        (path,) = simulate_cohort(Path(folder), 1, site="a", seed=5, hours=(hours, hours))
        for channel in open_night(path).channels:
            terms = zip(channel.derivation.terms, channel.gains, strict=True)
            samples = sum(channel.recording.read(index) * np.float32(gain) for (index, _), gain in terms)
            given[channel.derivation.slot] = samples, float(channel.signal.rate_hz)
    rules = preprocessing(ours.folder.config, ours.folder.tasks)
    print(f"its signals of a simulated night of {hours:g} h, {len(given)} channels")
    in_turns(
        {
            "package": lambda: list(map(len, night_signals(load_night(given), ours.slots, BLOCK_EPOCHS))),
            "twin": lambda: signals.prepare_night(given, rules),
        },
        rounds,
    )


def imports(rounds: int) -> None:
    """Prints how long a new process takes to import torch, and the twin."""
    files = Path(__file__).parents[1] / "sleepmami_jax" / "twin" / "files"

    def seconds(names: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(files)!r}); {names}"], check=True)
        return time.perf_counter() - begun

    pairs = [(seconds("import torch"), seconds("import torch, sleepmami_torch")) for _ in range(rounds)]
    alone, twin = (statistics.median(side) for side in zip(*pairs, strict=True))
    more = statistics.median(t - a for a, t in pairs)
    print(f"import: torch {alone:.2f} s, with the twin {twin:.2f} s, {more:.2f} s more")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    nights(arguments.hours, arguments.rounds)
    preparing(arguments.hours, arguments.rounds)
    imports(arguments.rounds)
