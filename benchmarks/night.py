"""How fast a CPU reads a whole night: signals -> micro tokens -> vector, stages and events.

    python benchmarks/night.py [--sizes tiny small base] [--hours 8] [--rounds 3]

Each size runs in a process of its own, whose peak memory is what it prints; models are random, and the night is a
block of noise on all channels, given again and again: the recording itself takes neither time nor memory here. In
every round a large float32 matmul is timed just before and after the night: its rate is what this machine gives at
that moment, the share of it that the night's useful FLOPs reach (see `models.flops`) is comparable between machines,
and the night's FLOPs at that rate are the floor.

    python benchmarks/night.py --score 8 72

What `sleepmami score` takes of nights of so many hours, from start to end of its process: peak memory, CPU seconds and
the size of the report, of one EEG channel and of a whole montage. Each is scored twice, with nothing compiled before
and with all of it. The nights are one simulated night again and again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MATMUL = 2048


def measure(name: str, hours: float, rounds: int) -> dict[str, float]:
    """One process: medians of rounds."""
    import jax
    import numpy as np

    from data_pipeline.modalities import SLOTS
    from data_pipeline.night import EPOCH_S
    from sleepmami_jax.costs.flops import micro_costs, night_costs, total
    from sleepmami_jax.costs.sizes import size
    from sleepmami_jax.data.arrays import blank_arrays
    from sleepmami_jax.data.embeddings import BLOCK_EPOCHS
    from sleepmami_jax.export.folder import ModelFolder
    from sleepmami_jax.models.sleepmami import create
    from sleepmami_jax.pretrained import Pretrained

    config, epochs = size(name), int(hours * 3600 / EPOCH_S)
    model = Pretrained(ModelFolder(config, create(config, 0)[1]))
    rng = np.random.default_rng(0)
    arrays = blank_arrays(BLOCK_EPOCHS, SLOTS)
    block = {m.value: arrays[m.value] for m in SLOTS}
    for values in block.values():
        values["signal"][:] = rng.standard_normal(values["signal"].shape, np.float32)
        values["usable"][:] = True
        values["present"] = values["usable"].any(-1)
    blocks = [block] * -(-epochs // BLOCK_EPOCHS)

    square = jax.device_put(rng.standard_normal((MATMUL, MATMUL), np.float32))
    matmul = jax.jit(lambda a: a @ a)

    def sgemm() -> float:
        begun = time.perf_counter()
        for _ in range(4):
            matmul(square).block_until_ready()
        return 4 * 2 * MATMUL**3 / (time.perf_counter() - begun)

    def night() -> tuple[float, float]:
        begun = time.perf_counter()
        tokens, ok = model.encoded(blocks, epochs)
        between = time.perf_counter()
        model.infer(tokens, ok, ())
        return between - begun, time.perf_counter() - between

    sgemm(), night()  # compiles
    results = []
    for _ in range(rounds):
        before, (micro, macro), after = sgemm(), night(), sgemm()
        results.append((micro, macro, (before + after) / 2))
    flops = total(micro_costs(config)).flops * epochs + total(night_costs(config, epochs)).flops
    rates = [flops / (micro + macro) for micro, macro, _ in results]
    return {
        "micro_s": statistics.median(r[0] for r in results),
        "macro_s": statistics.median(r[1] for r in results),
        "floor_s": statistics.median(flops / r[2] for r in results),
        "gflop_s": statistics.median(rates) / 1e9,
        "share": statistics.median(rate / r[2] for rate, r in zip(rates, results, strict=True)),
        "sgemm_gflop_s": statistics.median(r[2] for r in results) / 1e9,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def write_tiled(night: Path, to: Path, hours: float, labels: set[str]) -> None:
    """Some channels of a simulated night, again and again for so many hours; what is faster than 256 Hz is thinned."""
    import edfio
    import numpy as np

    signals = []
    for signal in edfio.read_edf(night).signals:
        if signal.label in labels or not labels:
            every = -(-int(signal.sampling_frequency) // 256)
            rate_hz = signal.sampling_frequency / every
            x = np.resize(signal.digital[::every], round(hours * 3600 * rate_hz))
            ranges = {"physical_range": signal.physical_range, "digital_range": signal.digital_range}
            facts = {"label": signal.label, "physical_dimension": signal.physical_dimension}
            signals.append(edfio.EdfSignal.from_digital(x, rate_hz, **facts, **ranges))
    edfio.Edf(signals, data_record_duration=1).write(to)


def measure_process(recording: Path, cache: Path) -> dict[str, float]:
    """`sleepmami score` of a recording: the report's size, and what the kernel says of the process."""
    out = cache.parent / "scored"
    command = [sys.executable, "-m", "sleepmami_jax.cli", "score", str(recording), "--out", str(out)]
    paths = {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_COMPILATION_CACHE_DIR": str(cache)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | paths | {"JAX_PLATFORMS": "cpu"}, **quiet)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{recording.name} was not scored")
    return {
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
        "cpu_s": used.ru_utime + used.ru_stime,
        "report_mb": (out / "report.html").stat().st_size / 1e6,
    }


def score(lengths_h: list[float]) -> None:
    """The table of `--score`."""
    import edfio

    print(f"{'hours':>5}{'channels':>9}{'EDF MB':>8}   {'compiled':9}{'peak MB':>8}{'CPU s':>7}{'report MB':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "sleepmami_jax.cli", "simulate", "--out", str(folder / "sim"), "--nights", "1"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        options = ["--hours", "8", "8", "--seed", "3"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*command, *options], env=environment, check=True, **quiet)
        night = next((folder / "sim").glob("*.edf"))
        signals = edfio.read_edf(night).signals
        eeg = next(signal.label for signal in signals if signal.label.startswith("C3"))
        for hours in lengths_h:
            for labels in ({eeg}, set()):
                recording = folder / "night.edf"
                # Elsewhere: what this process has held would count as the peak of those that it starts.
                writer = multiprocessing.get_context("spawn").Process(
                    target=write_tiled, args=(night, recording, hours, labels)
                )
                writer.start()
                writer.join()
                size_mb, n_channels = recording.stat().st_size / 1e6, len(labels or signals)
                with tempfile.TemporaryDirectory(dir=folder) as work:
                    for compiled in ("no", "yes"):
                        r = measure_process(recording, Path(work) / "compiled")
                        print(
                            f"{hours:>5g}{n_channels:>9}{size_mb:>8.0f}   {compiled:9}{r['peak_mb']:>8.0f}"
                            f"{r['cpu_s']:>7.1f}{r['report_mb']:>10.1f}",
                            flush=True,
                        )


def main(sizes: list[str], hours: float, rounds: int) -> None:
    print(
        f"{'size':7}{'micro s':>9}{'macro s':>9}{'total s':>9}{'floor s':>9}{'GFLOP/s':>9}{'sgemm':>9}{'share':>7}"
        f"{'peak MB':>9}"
    )
    for name in sizes:
        command = [sys.executable, __file__, "--one", name, "--hours", str(hours), "--rounds", str(rounds)]
        environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "JAX_PLATFORMS": "cpu"}
        out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        r = json.loads(out.stdout.splitlines()[-1])
        print(
            f"{name:7}{r['micro_s']:>9.1f}{r['macro_s']:>9.1f}{r['micro_s'] + r['macro_s']:>9.1f}{r['floor_s']:>9.1f}"
            f"{r['gflop_s']:>9.0f}{r['sgemm_gflop_s']:>9.0f}{r['share']:>7.0%}{r['peak_mb']:>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small", "base"])
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--score", nargs="+", type=float, metavar="HOURS", help="whole processes, instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    if lengths_h := arguments.pop("score"):
        score(lengths_h)
    elif one := arguments.pop("one"):
        print(json.dumps(measure(one, arguments["hours"], arguments["rounds"])))
    else:
        main(**arguments)
