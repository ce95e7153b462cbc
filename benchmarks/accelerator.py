"""What one accelerator gives, against its own roofs, and beside PyTorch on the same card: nine minutes on an H200.

    python benchmarks/accelerator.py [--out results] [--minutes 9] [--only roofs micro-base …]
    JAX_PLATFORMS=cpu python benchmarks/accelerator.py --tiny

Each section is a process of its own with a limit of time, so that one that fails or is slow costs only itself; what
it measured stands in `accelerator.jsonl` at once. The table at the end names the card.

  roofs        matmuls, large and of the model's own shapes; a copy in memory
  transfers    an epoch batch from host to device: float32, int16, and as a run sends and normalises it
  micro-*      the training step of micro pretraining: tokens a second, MFU, bytes a second by XLA's count
  torch-*      forward, backward and AdamW of the encoder alone in JAX, and its twin in PyTorch, eager and compiled
  ssd          the scan of the Macro-Encoder, forward and both ways, over its floor: each input, output and gradient
               once through memory; and mamba_ssm's kernel where that is installed
  macro        the training step of macro pretraining
  scored       nights of 8 h read by the bundled model: micro tokens, then stages, events and vector
  loader       epochs a second from shards and from a pack, over what the step of micro-base takes

Seconds are medians of three groups of steps sent one after another, after two that are not counted. Shapes are random
numbers; weights too, but for `scored`. MFU counts useful FLOPs (`costs.flops`) over the data sheet's bf16 peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

LIMIT_S = {
    "roofs": 40,
    "transfers": 40,
    "micro-base": 110,
    "torch-base": 90,
    "ssd": 60,
    "micro-large": 90,
    "torch-large": 70,
    "macro": 60,
    "scored": 60,
    "loader": 60,
}
TINY = False
Found = dict[str, float | str | int | None]


def seconds(run, n: int = 10) -> float:
    """Of one call of `run`, whose results are waited for after each group of n."""
    n = 2 if TINY else n
    jax.block_until_ready([run(), run()])
    groups = []
    for _ in range(3):
        begun = time.perf_counter()
        jax.block_until_ready([run() for _ in range(n)][-1])
        groups.append((time.perf_counter() - begun) / n)
    return statistics.median(groups)


def chip():
    from sleepmami_jax.costs.chips import CHIPS

    return CHIPS.get(jax.devices()[0].device_kind)


def share(rate: float, roof: str) -> float | None:
    """Of what the data sheet promises."""
    return rate / getattr(chip(), roof) if chip() else None


def roofs() -> Iterator[Found]:
    n, rows = (256, 512) if TINY else (8192, 65536)
    cases = [(n, n, n, jnp.bfloat16), (n, n, n, jnp.float32), *((rows, d, 2 * d, jnp.bfloat16) for d in (192, 384))]
    for a, b, c, dtype in cases:
        x, w = jnp.ones((a, b), dtype), jnp.ones((b, c), dtype)
        rate = 2 * a * b * c / seconds(lambda x=x, w=w: product(x, w), 20)
        what = f"matmul {a} x {b} x {c}, {dtype.__name__}"
        yield {"what": what, "tflops": rate / 1e12, "of_peak": share(rate, "flops")}
    x = jnp.ones(2**20 if TINY else 2**30, jnp.bfloat16)
    rate = 2 * x.nbytes / seconds(lambda: copy(x), 20)
    yield {"what": "copy", "gb_s": rate / 1e9, "of_peak": share(rate, "hbm_rate")}


product, copy = jax.jit(lambda x, w: x @ w), jax.jit(lambda x: x + 1)


def on_its_way(epochs: int) -> dict:
    """A batch as the loader gives it,, 14 of 17 channels."""
    from data_pipeline.modalities import SLOTS
    from sleepmami_jax.data.stored import Rows

    rows = Rows(np.ones((epochs, 2, sum(map(len, SLOTS.values()))), np.float32), SLOTS)
    for slot in [slot for slots in SLOTS.values() for slot in slots][:14]:
        rows._channel(slot)[:] = 1
    return rows.arrays((epochs,))


def transfers() -> Iterator[Found]:
    from sleepmami_jax.config import MeshConfig
    from sleepmami_jax.training.sharding import make_mesh, to_devices

    epochs = 64 if TINY else 2048
    batch = on_its_way(epochs)
    sent = sum(x.nbytes for x in jax.tree.leaves(batch))
    for dtype in (np.float32, np.int16):
        x = np.zeros((epochs, 41_300), dtype)
        s = seconds(lambda x=x: jax.device_put(x), 4)
        what = f"{x.nbytes / 1e6:.0f} MB of {x.dtype}"
        yield {"what": what, "gb_s": x.nbytes / s / 1e9, "epochs_s": epochs / s}
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    s = seconds(lambda: to_devices(batch, mesh), 4)
    yield {"what": "as a run sends it, normalised", "gb_s": sent / s / 1e9, "epochs_s": epochs / s}


# --- steps ------------------------------------------------------------------------------------------------------


def stepped(experiment) -> Found:
    """The real step of an experiment, on random numbers, on one device."""
    from sleepmami_jax.costs.flops import step_flops
    from sleepmami_jax.training.phases import plan
    from sleepmami_jax.training.sharding import lay_out, make_mesh, to_devices
    from sleepmami_jax.training.step import make_step, state_shapes
    from sleepmami_jax.training.throughput import tokens_of_example

    mesh, (phase, shapes) = make_mesh(experiment.mesh, jax.devices()[:1]), plan(experiment)
    state = lay_out(jax.tree.map(drawn, state_shapes(experiment, phase)), mesh)
    batch = to_devices(jax.tree.map(drawn, shapes), mesh)
    begun = time.perf_counter()
    step = make_step(experiment, phase, mesh).lower(state, batch).compile()
    compile_s = time.perf_counter() - begun

    def run():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    s, size = seconds(run), experiment.objective.batch
    traffic = float((step.cost_analysis() or {}).get("bytes accessed", 0.0))
    memory = step.memory_analysis()
    return {
        "batch": size,
        "compile_s": compile_s,
        "step_ms": 1e3 * s,
        "examples_s": size / s,
        "tokens_s": size * tokens_of_example(experiment) / s,
        "mfu": share(step_flops(experiment) / s, "flops"),
        "xla_gb_s": traffic / s / 1e9,
        "memory_gb": (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e9,
    }


def drawn(shape) -> np.ndarray:
    """Small numbers; of masks all, of counts none."""
    if np.issubdtype(shape.dtype, np.floating):
        return (0.02 * np.random.default_rng(0).random(shape.shape, np.float32)).astype(shape.dtype)
    return np.full(shape.shape, shape.dtype == bool, shape.dtype)


def compute(**how):
    from sleepmami_jax.config import ComputeConfig

    return ComputeConfig(dtype="float32" if TINY else "bfloat16", scan=not TINY, **how)


def micro(name: str) -> Iterator[Found]:
    from sleepmami_jax.config import Experiment, MicroPretraining
    from sleepmami_jax.costs.sizes import size

    batches = {"base": [(512, "none"), (2048, "none"), (4096, "names")], "large": [(512, "none"), (1024, "names")]}
    for batch, remat in [(8, "none")] if TINY else batches[name]:
        objective = MicroPretraining(batch=batch, contrast_keys=min(1024, batch))
        experiment = Experiment("micro", objective, model=size("tiny" if TINY else name), compute=compute(remat=remat))
        yield {"what": f"{batch} epochs, remat {remat}", **tried(lambda e=experiment: stepped(e))}


def tried(measure) -> Found:
    """What was measured, or why not: a batch that does not fit is a result."""
    try:
        return measure()
    except jax.errors.JaxRuntimeError as error:
        return {"error": str(error).partition("\n")[0][:200]}


def macro() -> Iterator[Found]:
    from sleepmami_jax.config import Experiment, MacroPretraining
    from sleepmami_jax.costs.sizes import size

    model = size("tiny" if TINY else "base")
    batch, epochs, chunks = (4, 32, (16,)) if TINY else (64, 1152, (model.macro.chunk, 128, 256))
    for chunk in chunks:
        own = replace(model, macro=replace(model.macro, chunk=chunk))
        objective = MacroPretraining(batch=batch, night_epochs=epochs)
        experiment = Experiment("macro", objective, model=own, compute=compute())
        yield {"what": f"{batch} nights, chunk {chunk}", **tried(lambda e=experiment: stepped(e))}


# --- beside PyTorch ---------------------------------------------------------------------------------------------


def twin(name: str) -> Iterator[Found]:
    import micro_step

    micro_step.CONFIG = replace(size_of(name), micro=replace(size_of(name).micro, capacity=1.5))
    for batch in [4] if TINY else [512]:
        yield {"what": f"{batch} epochs, JAX", **tried(lambda b=batch: ours(micro_step, b))}
        for how in ("eager", "compiled"):
            yield {"what": f"{batch} epochs, PyTorch {how}", **theirs(micro_step, batch, how)}


def size_of(name: str):
    from sleepmami_jax.costs.sizes import size

    return size("tiny" if TINY else name)


def ours(micro_step, batch: int) -> Found:
    """The encoder's step in the compute dtype, master weights and AdamW in float32."""
    from sleepmami_jax.models.precision import compute_dtype
    from sleepmami_jax.models.sleepmami import create, merge
    from sleepmami_jax.training.optimizer import make_optimizer

    graph, params = create(micro_step.CONFIG, 0, compute())
    weights, signals = {n: v for n, v in params.items() if n.startswith("micro/")}, micro_step.signals(batch)
    optimizer, arrays = make_optimizer(micro_step.OPTIMIZER, 1000), jax.tree.map(jnp.asarray, signals)

    def loss(weights, arrays):
        cast = {n: v.astype(compute_dtype(n, compute().dtype)) for n, v in weights.items()}
        tokens = merge(graph, params | cast).micro(arrays, exact=False)
        return (tokens.x.astype(jnp.float32) ** 2).mean() + 0.01 * tokens.router["balance"]

    @jax.jit
    def step(weights, moments, arrays):
        value, gradients = jax.value_and_grad(loss)(weights, arrays)
        updates, moments = optimizer.update(gradients, moments, weights)
        return {n: v + updates[n] for n, v in weights.items()}, moments, value

    state = [weights, optimizer.init(weights)]

    def run():
        *state[:], value = step(*state, arrays)
        return value

    s = seconds(run)
    return {"step_ms": 1e3 * s, "examples_s": batch / s}


def theirs(micro_step, batch: int, how: str) -> Found:
    """The twin in PyTorch, which drops no token: autocast to bfloat16, fused AdamW."""
    try:
        import torch
    except ImportError:
        return {"skipped": "torch is not installed"}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not TINY:
        return {"skipped": "torch has no CUDA here"}
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    module = micro_step.torch_micro(micro_step.micro_params()[1]).to(device)
    signals = {
        m: {k: torch.from_numpy(v).to(device) for k, v in a.items()} for m, a in micro_step.signals(batch).items()
    }
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
    network = torch.compile(module, backend="eager" if TINY else "inductor") if how == "compiled" else module

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=not TINY):
            x, router = network(signals)
        ((x.float() ** 2).mean() + router).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        wait()

    s = seconds(run)
    return {"step_ms": 1e3 * s, "examples_s": batch / s}


def ssd() -> Iterator[Found]:
    from sleepmami_jax.models.ssd import ssd as scan

    shapes = [(1, 64, 2, 8, 8)] if TINY else [(64, 1152, 6, 64, 48), (64, 1152, 12, 64, 64), (4, 34560, 9, 32, 48)]
    dtype, rng = jnp.float32 if TINY else jnp.bfloat16, np.random.default_rng(0)
    for b, length, h, p, n in shapes:
        x, g = (jnp.asarray(rng.standard_normal((b, length, h, p)), dtype) for _ in range(2))
        into, out_of = (jnp.asarray(rng.standard_normal((b, length, n)), dtype) for _ in range(2))
        dt, a = jnp.asarray(rng.uniform(1e-3, 0.1, (b, length, h)), jnp.float32), -jnp.arange(1.0, h + 1)
        once = 2 * x.nbytes + dt.nbytes + into.nbytes + out_of.nbytes
        for chunk in (16,) if TINY else (64, 128, 256):

            def forward(x, dt, into, out_of, chunk=chunk, a=a):
                return scan(x, dt, a, into, out_of, chunk)

            def both(x, dt, into, out_of, forward=forward, g=g):
                y, back = jax.vjp(forward, x, dt, into, out_of)
                return y, back(g)

            line = {"what": f"{b} x {length}, {h} heads of {p}, state {n}, chunk {chunk}"}
            for name, function, floor in (("forward", forward, once), ("both", both, 2 * once)):
                compiled = jax.jit(function)
                s = seconds(lambda f=compiled, v=(x, dt, into, out_of): f(*v))
                line |= {
                    f"{name}_ms": 1e3 * s,
                    f"{name}_over_floor": (share(floor / s, "hbm_rate") or 0) ** -1 if chip() else None,
                }
            yield line
        yield {"what": f"{b} x {length}, mamba_ssm", **mamba(b, length, h, p, n)}


def mamba(b: int, length: int, h: int, p: int, n: int) -> Found:
    try:
        import torch
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return {"skipped": "mamba_ssm is not installed"}
    make = {"device": "cuda", "dtype": torch.bfloat16}
    x, into, out_of = (
        torch.randn(*shape, **make, requires_grad=True)
        for shape in ((b, length, h, p), (b, length, 1, n), (b, length, 1, n))
    )
    dt, a = torch.rand(b, length, h, device="cuda") * 0.1, -torch.arange(1.0, h + 1, device="cuda")

    def run():
        mamba_chunk_scan_combined(x, dt, a, into, out_of, 256).sum().backward()
        torch.cuda.synchronize()

    return {"both_ms": 1e3 * seconds(run)}


# --- whole nights, and the loader ------------------------------------------------------------------------------


def scored() -> Iterator[Found]:
    from sleepmami_jax.data.embeddings import BLOCK_EPOCHS, encode_blocks
    from sleepmami_jax.data.frozen import micro_encode
    from sleepmami_jax.pretrained import load
    from sleepmami_jax.twin.parity import random_night

    model, epochs, nights = load(), 32 if TINY else 960, 1 if TINY else 8
    encode, whole = micro_encode(model.folder.config, model.folder.params), random_night(model.slots, epochs)
    blocks = [
        jax.tree.map(lambda v, start=start: v[start : start + BLOCK_EPOCHS], whole)
        for start in range(0, epochs, BLOCK_EPOCHS)
    ]
    tokens = [np.concatenate(parts) for parts in zip(*encode_blocks(encode, blocks), strict=True)]
    model.read(*tokens)
    begun = time.perf_counter()
    for _ in range(nights):
        list(encode_blocks(encode, blocks))
    micro_s = (time.perf_counter() - begun) / nights
    begun = time.perf_counter()
    for _ in range(nights):
        model.read(*tokens)
    night_s = (time.perf_counter() - begun) / nights
    what = {"what": f"{epochs} epochs, the bundled model", "micro_ms": 1e3 * micro_s, "night_ms": 1e3 * night_s}
    yield what | {"nights_s": 1 / (micro_s + night_s)}


def loader() -> Iterator[Found]:
    from loader import two_nights

    from data_pipeline.modalities import SLOTS
    from sleepmami_jax.config import DataConfig, DataSource
    from sleepmami_jax.data.batches import signal_batches
    from sleepmami_jax.data.packing import pack_folder

    step = next(micro("base"))
    yield {"what": "the step of micro-base takes", "epochs_s": step.get("examples_s")}
    with tempfile.TemporaryDirectory() as name:
        folder, out = two_nights(Path(name) / "nights", 1 / 30 if TINY else 1), Path(name) / "packs"
        pack_folder(folder, out)
        cases = {"shards, here": {}, "a pack": {"pack": str(out)}}
        if not TINY:
            cases |= {f"shards, {n} workers": {"workers": n} for n in (4, 8, 14)}
        for what, how in cases.items():
            data = DataConfig((DataSource(str(folder)),), prefetch_bytes=2**32, **how)
            with closing(signal_batches(data, SLOTS, global_batch=8 if TINY else 512, seed=0)) as batches:
                n, size = (2, 8) if TINY else (64, 512)
                for _ in range(n):
                    next(batches)
                begun = time.perf_counter()
                for _ in range(n):
                    next(batches)
                rate = n * size / (time.perf_counter() - begun)
            yield {"what": what, "epochs_s": rate, "over_step": rate / (step.get("examples_s") or np.nan)}


# --- the run ----------------------------------------------------------------------------------------------------


def measure(section: str) -> Iterator[Found]:
    """The lines of one section, as they are measured."""
    kind, _, name = section.partition("-")
    return {"micro": micro, "torch": twin}[kind](name) if name else globals()[kind]()


def table(lines: list[dict]) -> str:
    """The measured, a section after another."""
    heads = [f"{line['device']}, jax {line['jax']}" for line in lines if line.get("device")]
    text, last = [*heads[:1]], None
    for line in lines:
        if line["section"] != last:
            text.append(f"\n{line['section']}")
        last = line["section"]
        values = {k: v for k, v in line.items() if k not in ("section", "device", "jax", "what") and v is not None}
        told = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        text.append(f"  {line.get('what', ''):44} {told}")
    return "\n".join(text)


def main(out: Path, minutes: float, only: list[str], tiny: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path, end = out / "accelerator.jsonl", time.monotonic() + 60 * minutes
    path.write_text("")
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    for section in only:
        limit = min(LIMIT_S[section] * (10 if tiny else 1), end - time.monotonic())
        command = [sys.executable, __file__, "--section", section, "--out", str(out), *(["--tiny"] if tiny else [])]
        if limit < 10:
            problem = "no time was left"
        else:
            try:
                done = subprocess.run(command, env=environment, timeout=limit, stderr=subprocess.PIPE, text=True)
                problem = done.stderr.strip()[-300:] if done.returncode else ""
            except subprocess.TimeoutExpired:
                problem = f"not done in {limit:.0f} s"
        if problem:
            with path.open("a") as file:
                file.write(json.dumps({"section": section, "problem": problem}) + "\n")
    text = table(sorted(map(json.loads, path.read_text().splitlines()), key=lambda line: only.index(line["section"])))
    (out / "accelerator.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("accelerator"), help="a folder")
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole run")
    parser.add_argument("--only", nargs="+", choices=LIMIT_S, default=[*LIMIT_S])
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try it on a CPU")
    parser.add_argument("--section", choices=LIMIT_S, help=argparse.SUPPRESS)
    options = parser.parse_args()
    TINY = options.tiny
    if options.section:
        sys.argv = sys.argv[:1]  # grain reads absl flags
        from absl import flags

        flags.FLAGS(sys.argv)
        here = {"section": options.section, "device": jax.devices()[0].device_kind, "jax": jax.__version__}
        for line in measure(options.section):
            with (options.out / "accelerator.jsonl").open("a") as file:
                file.write(json.dumps(here | line) + "\n")
    else:
        main(options.out, options.minutes, options.only, options.tiny)
