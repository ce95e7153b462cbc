"""What it costs to prepare one night, beside the least that any preparation must do.

    python benchmarks/prepare_night.py [--hours 8] [--pairs 5] [--nights 6]

The night has 14 channels: 6 EEG, 2 EOG, EMG and ECG at 200 Hz, 3 of breathing at 25 Hz, SpO2 at 1 Hz. The floor
reads it with edfio, resamples with `scipy.signal.resample_poly` and writes raw int16: no filter, no quality, no
labels, no compression, no checksum. Floor and preparation run by turns, each in a process of its own, so that
other work on the machine meets both; printed are medians of their ratios. Seconds count from after the imports.
Memory is the peak of the whole process as the kernel saw it (VmHWM, Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np
import scipy

FAST_HZ, SLOW_HZ = 200, 25
CHANNELS = (
    *((label, FAST_HZ, 18.0, 400.0) for label in ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1")),
    *((label, FAST_HZ, 30.0, 800.0) for label in ("E1-M2", "E2-M2")),
    ("Chin EMG", FAST_HZ, 6.0, 400.0),
    ("ECG", FAST_HZ, 60.0, 3000.0),
    *((label, SLOW_HZ, 0.2, 2.0) for label in ("Nasal Pressure", "Thorax", "Abdomen")),
    ("SpO2", 1, 1.0, 100.0),
)
"""Label, rate, spread in the channel's unit, end of the physical range."""


def write_night(path: Path, hours: float, seed: int = 0) -> None:
    """An EDF of noise with the spectra, rates and ranges of a night; an hour of each, its loudness changing."""
    import edfio

    rng = np.random.default_rng(seed)
    signals = []
    for label, rate_hz, spread, limit in CHANNELS:
        n = round(hours * 3600 * rate_hz)
        if label == "SpO2":
            x = np.clip(np.rint(95 + np.cumsum(rng.normal(0, 0.05, n)) % 4), 70, 100)
            physical_range = (0.0, limit)
        else:
            x = np.resize(spread * _noise(rng, label, rate_hz), n)
            x *= np.repeat(rng.uniform(0.6, 1.6, int(np.ceil(hours * 60))), 60 * rate_hz)[:n]
            x, physical_range = np.clip(x, -limit, limit), (-limit, limit)
        unit = {FAST_HZ: "uV", SLOW_HZ: "", 1: "%"}[rate_hz]
        signals.append(edfio.EdfSignal(x, rate_hz, label=label, physical_dimension=unit, physical_range=physical_range))
    edfio.Edf(signals, data_record_duration=1).write(path)


def _noise(rng: np.random.Generator, label: str, rate_hz: int) -> np.ndarray:
    """An hour with standard deviation 1: power falls with frequency, flat for EMG, a breath in slow channels."""
    n = 3600 * rate_hz
    freqs = np.fft.rfftfreq(n, 1 / rate_hz)
    slope = 0.0 if "EMG" in label else 0.75
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(freqs, 0.3) ** slope
    x = np.fft.irfft(spectrum, n)
    x /= x.std()
    t = np.arange(n) / rate_hz
    if rate_hz == SLOW_HZ:
        x = np.sin(2 * np.pi * 0.25 * t) + 0.1 * x
    if label == "ECG":
        x = 0.3 * x + 15 * np.exp(-((((t % 0.9) - 0.45) / 0.015) ** 2))
    return x


# --- what runs in a process of its own -----------------------------------------------------------------------


def floor(recording: Path, out: Path) -> dict[str, float]:
    """edfio, `resample_poly`, raw int16."""
    import edfio
    from scipy.signal import resample_poly

    canonical_hz = {FAST_HZ: 128, SLOW_HZ: 32, 1: 1}
    begun = time.perf_counter(), time.process_time()
    edf = edfio.read_edf(recording)
    with (out / "floor.i16").open("wb") as file:
        for signal in edf.signals:
            rate_hz = round(signal.sampling_frequency)
            y = resample_poly(signal.data, canonical_hz[rate_hz], rate_hz)
            (y * (32767 / np.abs(y).max())).astype(np.int16).tofile(file)
    return _measured(begun)


def preparation(recording: Path, out: Path, workers: int = 1) -> dict[str, float]:
    """`data_pipeline.prepare.run.prepare` of a file, or of a folder of them."""
    from data_pipeline.prepare.run import prepare

    begun = time.perf_counter(), time.process_time()
    summary = prepare([recording], out / "shards", workers=workers)
    measured = _measured(begun)
    if summary.rejected:
        raise SystemExit(summary.table())
    return measured | {"shard_bytes": sum(night.shard_bytes for night in summary.nights)}


def _measured(begun: tuple[float, float]) -> dict[str, float]:
    seconds, cpu_seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gb": peak_kib * 1024 / 1e9}


def child(job: str, recording: Path, *options: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=recording.parent) as out:
        command = [sys.executable, __file__, job, str(recording), out, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- the report -----------------------------------------------------------------------------------------------


def main(hours: float, pairs: int, nights: int) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        night = folder / "night.edf"
        write_night(night, hours)
        edf_bytes = night.stat().st_size
        runs = [(child("floor", night), child("prepare", night)) for _ in range(pairs)]
        print(f"\nOne night of {hours:g} h, {len(CHANNELS)} channels, EDF of {edf_bytes / 1e6:.1f} MB, one worker:")
        print(f"  floor        {spread(f['seconds'] for f, _ in runs)} s, {runs[0][0]['peak_gb']:.2f} GB")
        print(f"  preparation  {spread(p['seconds'] for _, p in runs)} s, {runs[0][1]['peak_gb']:.2f} GB")
        print(f"  ratio        {spread(p['seconds'] / f['seconds'] for f, p in runs)}, pair by pair")
        print(f"  of CPU time  {spread(p['cpu_seconds'] / f['cpu_seconds'] for f, p in runs)}, pair by pair")
        print(f"  shard        {runs[0][1]['shard_bytes'] / edf_bytes:.1%} of the EDF's bytes")

        print("\nPeak memory of one worker by the night's length:")
        for length in (hours / 2, hours, 2 * hours):
            write_night(folder / "length.edf", length)
            print(f"  {length:4g} h  {child('prepare', folder / 'length.edf')['peak_gb']:.3f} GB")

        several = folder / "several"
        several.mkdir()
        for i in range(nights):
            write_night(several / f"n{i}.edf", hours, seed=1 + i)  # the same night twice would be one
        runs = [(child("prepare", several, "1"), child("prepare", several, "2")) for _ in range(3)]
        print(f"\n{nights} such nights, the start of the processes included:")
        print(f"  one worker   {spread(a['seconds'] for a, _ in runs)} s")
        print(f"  two workers  {spread(b['seconds'] for _, b in runs)} s")
        print(f"  gain         {spread(a['seconds'] / b['seconds'] for a, b in runs)} times, pair by pair")


def machine() -> str:
    """The machine in a line, without its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return (
        f"{cpu or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}."
    )


def spread(values: Iterable[float], form: str = ".2f") -> str:
    values = sorted(values)
    return f"{median(values):{form}} ({values[0]:{form}} to {values[-1]:{form}})"


JOBS: dict[str, Callable[..., dict[str, float]]] = {"floor": floor, "prepare": preparation}

if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[1] in JOBS:
        job, recording, out, *workers = sys.argv[1:]
        print(json.dumps(JOBS[job](Path(recording), Path(out), *map(int, workers))))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--hours", type=float, default=8)
        parser.add_argument("--pairs", type=int, default=5)
        parser.add_argument("--nights", type=int, default=12)
        main(**vars(parser.parse_args()))
