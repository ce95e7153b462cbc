"""What the scans of the Macro-Encoder cost on this machine, beside a chunked SSD in eager PyTorch.

    python benchmarks/ssd.py

Forward and backward in float32 at two nights of 1,024 epochs, inner width 512, heads of 64. Every row is a process
of its own that keeps its heap (so that no row pays for page faults that another does not) and they take turns, so
that a busy minute is everybody's. Prints the median milliseconds of a step, the median over rounds of the ratio to
PyTorch, XLA's temporary memory, page faults and system time of a step, and how time grows with the length of one
night. Takes one to three minutes. PyTorch is optional: `pip install -e .[torch]`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import resource
import statistics
import subprocess
import sys
import time

WIDTH, HEAD, CHUNK = 512, 64, 64
STATE = {"PyTorch eager SSD": 64, "ssd": 64, "ssd_sequential": 64, "selective_scan": 16}  # N usual for each
STEPS = {"PyTorch eager SSD": 6, "ssd": 6, "ssd_sequential": 1, "selective_scan": 2}  # in a round
ROUNDS = 7
LENGTHS = (1024, 4096, 16384)


def torch_ssd(x, dt, a, b, c):
    """A minimal chunked SSD, head-major so that every product is one batched matmul; arguments as `models.ssd.ssd`."""
    import torch

    batch, length, heads, p = x.shape
    chunks = length // CHUNK
    dx = (x * dt[..., None]).reshape(batch, chunks, CHUNK, heads, p).permute(0, 3, 1, 2, 4)
    total = (dt * a).reshape(batch, chunks, CHUNK, heads).permute(0, 3, 1, 2).cumsum(-1)
    b, c = (v.reshape(batch, 1, chunks, CHUNK, -1) for v in (b, c))
    above = torch.ones(CHUNK, CHUNK, dtype=torch.bool).triu(1)
    decay = (total[..., :, None] - total[..., None, :]).masked_fill(above, -torch.inf).exp()
    within = ((c @ b.mT) * decay) @ dx
    added = (b * (total[..., -1:] - total).exp()[..., None]).mT @ dx
    keep = total[..., -1].exp()
    state, before = torch.zeros_like(added[:, :, 0]), []
    for i in range(chunks):
        before.append(state)
        state = keep[:, :, i, None, None] * state + added[:, :, i]
    across = (c * total.exp()[..., None]) @ torch.stack(before, 2)
    return (within + across).permute(0, 2, 3, 1, 4).reshape(batch, length, heads, p)


def ssd_sequential(x, dt, a, b, c):
    """The recurrence step by step in JAX; arguments as `models.ssd.ssd`, without the chunk."""
    import jax
    import jax.numpy as jnp

    def step(state, this):  # (B, H, N, P)
        x_t, dt_t, b_t, c_t = this
        decay = jnp.exp(dt_t * a)[..., None, None]
        state = decay * state + jnp.einsum("bn,bhp,bh->bhnp", b_t, x_t, dt_t)
        return state, jnp.einsum("bn,bhnp->bhp", c_t, state)

    first = jnp.zeros((x.shape[0], x.shape[2], b.shape[-1], x.shape[3]), x.dtype)
    _, y = jax.lax.scan(step, first, jax.tree.map(lambda v: jnp.moveaxis(v, 1, 0), (x, dt, b, c)))
    return jnp.moveaxis(y, 0, 1)


def keep_heap() -> None:
    """glibc keeps freed memory instead of giving it back and faulting it in again at every step; elsewhere nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28), (-8, 1)):
            mallopt(option, value)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX


def arguments(name: str, batch: int, length: int) -> tuple:
    """Inputs of the scan of this name, as steps and decays are when training begins."""
    import numpy as np

    rng = np.random.default_rng(0)
    heads, n = WIDTH // HEAD, STATE[name]
    b, c = rng.standard_normal((2, batch, length, n), np.float32)
    if name == "selective_scan":
        x, a, steps = (batch, length, WIDTH), np.tile(np.arange(1.0, n + 1), (WIDTH, 1)), WIDTH
    else:
        x, a, steps = (batch, length, heads, HEAD), rng.uniform(1, 16, heads), heads
    dt = np.exp(rng.uniform(math.log(1e-3), math.log(0.1), (batch, length, steps)))
    return rng.standard_normal(x, np.float32), dt.astype(np.float32), -a.astype(np.float32), b, c


def stepper(name: str, batch: int, length: int):
    """A call that runs forward and backward once, and the temporary memory of it in MiB (None for PyTorch)."""
    values = arguments(name, batch, length)
    if name == "PyTorch eager SSD":
        import torch

        inputs = [torch.tensor(v, requires_grad=True) for v in values]
        gradient = torch.ones(values[0].shape)
        return lambda: torch.autograd.grad(torch_ssd(*inputs), inputs, gradient), None

    import jax
    import jax.numpy as jnp

    from sleepmami_jax.models.selective import selective_scan
    from sleepmami_jax.models.ssd import ssd

    scan = {
        "ssd": lambda *v: ssd(*v, CHUNK),
        "ssd_sequential": ssd_sequential,
        "selective_scan": selective_scan,
    }[name]

    @jax.jit
    def both(gradient, *v):
        y, back = jax.vjp(scan, *v)
        return y, back(gradient)

    values = [jnp.asarray(v) for v in values]
    compiled = both.lower(values[0], *values).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return lambda: jax.block_until_ready(compiled(jnp.ones_like(values[0]), *values)), temporary


def work(name: str, batch: int, length: int) -> None:
    """One process: says what it needs, then runs as many steps as each line of input asks for."""
    keep_heap()
    step, temporary = stepper(name, batch, length)
    step()
    step()
    print(json.dumps(temporary), flush=True)
    for line in sys.stdin:
        before, times = resource.getrusage(resource.RUSAGE_SELF), []
        for _ in range(int(line)):
            begun = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - begun))
        after = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "ms": statistics.median(times),
            "faults": (after.ru_minflt - before.ru_minflt) / len(times),
            "system_ms": 1e3 * (after.ru_stime - before.ru_stime) / len(times),
        }
        print(json.dumps(found), flush=True)


class Worker:
    """A process that waits for its turn."""

    def __init__(self, name: str, batch: int, length: int):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "work", name, str(batch), str(length)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.temporary = self._answer()
        self.rounds: list[dict[str, float]] = []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args)}: ended early; its error is above")
        return json.loads(line)

    def turn(self, steps: int) -> None:
        print(steps, file=self.process.stdin, flush=True)
        self.rounds.append(self._answer())

    def median(self, key: str) -> float:
        return statistics.median(r[key] for r in self.rounds)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    names = list(STATE)
    if importlib.util.find_spec("torch") is None:
        names.remove("PyTorch eager SSD")
        print("PyTorch is not installed, so its row and the ratios to it are left out: pip install -e .[torch]")
    workers = {name: Worker(name, 2, 1024) for name in names}
    for _ in range(ROUNDS):
        for name, worker in workers.items():
            worker.turn(STEPS[name])
    print(f"{'':20}{'N':>4}{'ms':>9}{'ratio':>8}{'temp MiB':>10}{'faults':>9}{'system ms':>11}")
    torch = workers.get("PyTorch eager SSD")
    for name, w in workers.items():
        ratio = "-"
        if torch:
            ratio = f"{statistics.median(o['ms'] / t['ms'] for o, t in zip(w.rounds, torch.rounds, strict=True)):.2f}"
        temporary = "-" if w.temporary is None else f"{w.temporary:.0f}"
        print(
            f"{name:20}{STATE[name]:>4}{w.median('ms'):>9.1f}{ratio:>8}{temporary:>10}"
            f"{w.median('faults'):>9.0f}{w.median('system_ms'):>11.1f}"
        )
        w.close()

    longer = {length: Worker("ssd", 1, length) for length in LENGTHS}
    for _ in range(ROUNDS):
        for length, worker in longer.items():
            worker.turn(max(1, 4096 // length))
    times = {length: w.median("ms") for length, w in longer.items()}
    exponent = statistics.linear_regression(list(map(math.log, times)), list(map(math.log, times.values())))
    print("one night: " + ", ".join(f"{length:,} epochs {ms:.1f} ms" for length, ms in times.items()))
    print(f"ssd takes time as its length to the power {exponent.slope:.2f}")
    for w in longer.values():
        w.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
