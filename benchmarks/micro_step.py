"""The Micro-Encoder's training step on CPU, against the same network in PyTorch eager and against masking.

    python benchmarks/micro_step.py [--rounds 5] [--batch 16] [--one-core]

Each case runs in a process of its own, by turns, on the same cores with malloc as the `sleepmami` command has it.
A step is forward, backward, clipping and AdamW in float32. Prints the medians of milliseconds, CPU and system
milliseconds and page faults a step, and the ratios of paired rounds. With `--one-core` every case has one thread on
one core, and the ratios are of CPU time, which other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from data_pipeline.modalities import RATE_HZ, SLOTS
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import Experiment, MeshConfig, MicroPretraining, OptimizerConfig
from sleepmami_jax.costs.sizes import size

STEPS = 5
LAYERS, DIM, HEADS, LENGTH = 6, 256, 8, 180  # of the plain transformer
CONFIG = size("small")
OPTIMIZER = OptimizerConfig()
CASES = ("micro ours", "micro torch", "micro masked", "plain ours", "plain torch")
PAIRS = (("micro ours", "micro torch"), ("micro masked", "micro ours"), ("plain ours", "plain torch"))


def signals(batch: int) -> dict:
    rng = np.random.default_rng(0)
    arrays = {}
    for m in SLOTS:
        channels = len(CONFIG.modalities[m].slots)
        arrays[m.value] = {
            "signal": rng.standard_normal((batch, channels, EPOCH_S * RATE_HZ[m])).astype(np.float32),
            "usable": np.ones((batch, channels, EPOCH_S), bool),
            "present": np.ones((batch, channels), bool),
        }
    return arrays


def timed(step) -> dict[str, float]:
    """Medians over steps; the first three are not counted."""
    for _ in range(3):
        step()
    ms, cpu_ms, before = [], [], resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        step()
        ms.append(1e3 * (time.perf_counter() - begun))
        cpu_ms.append(1e3 * (time.process_time() - begun_cpu))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ms": statistics.median(ms),
        "cpu_ms": statistics.median(cpu_ms),
        "system_ms": 1e3 * (after.ru_stime - before.ru_stime) / STEPS,
        "faults": (after.ru_minflt - before.ru_minflt) / STEPS,
    }


def jax_case(params, loss) -> dict[str, float]:
    """`loss(params) -> scalar`, differentiated and stepped with the project's optimiser."""
    import jax

    from sleepmami_jax.training.optimizer import make_optimizer

    optimizer = make_optimizer(OPTIMIZER, 1000)

    def update(state):
        params, moments = state
        value, gradients = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return ({name: v + updates[name] for name, v in params.items()}, moments), value

    state = (params, optimizer.init(params))
    compiled = jax.jit(update, donate_argnums=0).lower(state).compile()
    return stepped(compiled, compiled, state)


def stepped(compiled, run, state) -> dict[str, float]:
    """Times of `run(state) -> (state, anything)`, and the memory of the program."""
    import jax

    def step():
        nonlocal state
        state, seen = run(state)
        jax.block_until_ready(seen)

    return timed(step) | {"temp_mib": compiled.memory_analysis().temp_size_in_bytes / 2**20}


def micro_params():
    from sleepmami_jax.models.sleepmami import create

    graph, params = create(CONFIG, 0)
    return graph, {name: v for name, v in params.items() if name.startswith("micro/")}, params


def micro_ours(n: int) -> dict[str, float]:
    import jax

    from sleepmami_jax.models.sleepmami import merge

    graph, trained, params = micro_params()
    batch = jax.tree.map(jax.numpy.asarray, signals(n))

    def loss(trained):
        tokens = merge(graph, params | trained).micro(batch, exact=False)
        router = tokens.router
        return (tokens.x**2).mean() + 0.01 * router["balance"] + 0.001 * router["z"]

    return jax_case(trained, loss)


def micro_masked(n: int) -> dict[str, float]:
    """The step of a run of micro pretraining: masked autoencoding and contrast."""
    from sleepmami_jax.models.initial import Rngs
    from sleepmami_jax.models.sleepmami import create
    from sleepmami_jax.training.phases.micro import MicroObjective, micro_loss
    from sleepmami_jax.training.phases.phase import Phase, with_objective
    from sleepmami_jax.training.sharding import lay_out, make_mesh, to_devices
    from sleepmami_jax.training.step import initial_state, make_step

    config = MicroPretraining(batch=n)
    experiment = Experiment("micro_step", config, model=CONFIG, optimizer=OPTIMIZER)
    graph, params = create(CONFIG, 0)
    objective, params = with_objective(params, MicroObjective(CONFIG, config, rngs=Rngs(1)))
    loss = micro_loss(experiment, graph, objective)
    phase, mesh = Phase(params, ("micro/", "objective/"), loss, n), make_mesh(MeshConfig())
    state = lay_out(initial_state(experiment, phase), mesh)
    batch = to_devices(signals(n), mesh)
    compiled = make_step(experiment, phase, mesh).lower(state, batch).compile()
    return stepped(compiled, lambda state: compiled(state, batch), state)


def plain_ours(n: int) -> dict[str, float]:
    import jax.numpy as jnp
    from flax import nnx

    from sleepmami_jax.models.initial import Rngs
    from sleepmami_jax.models.sleepmami import merge, split
    from sleepmami_jax.models.transformer import Block, Mlp

    rngs = Rngs(0)
    graph, params = split(nnx.List(Block(DIM, HEADS, Mlp(DIM, 4 * DIM, rngs=rngs), rngs=rngs) for _ in range(LAYERS)))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((n, LENGTH, DIM)).astype(np.float32))
    ok = jnp.ones((n, LENGTH), bool)

    def loss(params):
        h = x
        for block in merge(graph, params):
            h, _ = block(h, ok)
        return (h**2).mean()

    return jax_case({name: jnp.asarray(v) for name, v in params.items()}, loss)


def torch_case(module, loss) -> dict[str, float]:
    import torch

    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step():
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return timed(step)


def torch_blocks():
    """The blocks of `models.transformer` and `models.moe` as PyTorch modules."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Attention(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads = heads
            self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)

        def forward(self, x, ok):
            b, length, dim = x.shape
            q, k, v = self.qkv(x).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=ok[:, None, None, :])
            return self.out(y.transpose(1, 2).reshape(b, length, dim))

    class Mlp(nn.Module):
        def __init__(self, dim, hidden):
            super().__init__()
            self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

        def forward(self, x, ok):
            return self.down(functional.gelu(self.up(x), approximate="tanh")), 0.0

    class MixtureOfExperts(nn.Module):
        """Dropless: each expert takes its tokens by index, as is natural where shapes may change."""

        def __init__(self, dim, hidden, experts, top_k):
            super().__init__()
            self.top_k = top_k
            self.router = nn.Linear(dim, experts, bias=False)
            self.up = nn.Parameter(torch.empty(experts, dim, hidden))
            self.down = nn.Parameter(torch.empty(experts, hidden, dim))

        def forward(self, x, ok):
            shape, x = x.shape, x.reshape(-1, x.shape[-1])
            logits = self.router(x)
            probs = logits.softmax(-1)
            gate, expert = probs.topk(self.top_k)
            gate = gate / gate.sum(-1, keepdim=True)
            y = torch.zeros_like(x)
            for e, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
                token, choice = torch.where(expert == e)
                h = functional.gelu(x[token] @ up, approximate="tanh") @ down
                y = y.index_add(0, token, h * gate[token, choice, None])
            load = functional.one_hot(expert[:, 0], len(self.up)).float().mean(0)
            balance = len(self.up) * (load * probs.mean(0)).sum()
            return y.view(shape), 0.01 * balance + 0.001 * (logits.logsumexp(-1) ** 2).mean()

    class Block(nn.Module):
        def __init__(self, dim, heads, feedforward):
            super().__init__()
            self.norm_attention, self.norm_feedforward = nn.RMSNorm(dim, 1e-6), nn.RMSNorm(dim, 1e-6)
            self.attention, self.feedforward = Attention(dim, heads), feedforward

        def forward(self, x, ok):
            x = x + self.attention(self.norm_attention(x), ok)
            y, loss = self.feedforward(self.norm_feedforward(x), ok)
            return x + y, loss

    return Block, Mlp, MixtureOfExperts


def plain_torch(n: int) -> dict[str, float]:
    import torch

    Block, Mlp, _ = torch_blocks()
    module = torch.nn.ModuleList(Block(DIM, HEADS, Mlp(DIM, 4 * DIM)) for _ in range(LAYERS))
    x, ok = torch.randn(n, LENGTH, DIM), torch.ones(n, LENGTH, dtype=torch.bool)

    def loss():
        h = x
        for block in module:
            h, _ = block(h, ok)
        return (h**2).mean()

    return torch_case(module, loss)


def torch_micro(params):
    """The Micro-Encoder as a PyTorch module with the same numbers."""
    import torch
    from torch import nn
    from torch.nn import functional

    from sleepmami_jax.models.micro import layout, measured_width
    from sleepmami_jax.models.stem import POWER_FLOOR, filters, looks_of, n_features
    from sleepmami_jax.models.tokenizer import time_code

    Block, Mlp, MixtureOfExperts = torch_blocks()
    micro, where = CONFIG.micro, layout(CONFIG.modalities)

    def filterbank(m):
        """`stem.features` of signals that are wholly usable."""
        looks = []
        for look in looks_of(m, where.token_s[m]):
            wave, band, _ = filters(look, RATE_HZ[m])
            stride = int(look.hop_s * RATE_HZ[m])
            beyond = len(wave) - stride
            margins = (beyond // 2, beyond - beyond // 2)
            looks.append((torch.from_numpy(wave.T[:, None].copy()), torch.from_numpy(band), stride, margins))

        @torch.no_grad()
        def features(signal):  # (B, C, T) -> (B, C, n, F)
            b, c, _ = signal.shape
            parts = []
            for wave, band, stride, margins in looks:
                x = functional.pad(signal.view(b * c, 1, -1), margins, mode="reflect")
                cosine, sine = (functional.conv1d(x, wave.to(x), stride=stride) ** 2).chunk(2, 1)
                parts.append(((cosine + sine).transpose(1, 2) @ band.to(x)).reshape(b, c, where.tokens[m], -1))
            return 0.25 * (torch.cat(parts, -1) + POWER_FLOOR).log() + 0.5

        return features

    class Tokenizer(nn.Module):
        def __init__(self, m):
            super().__init__()
            self.amplitude = nn.Linear(where.token_s[m] * RATE_HZ[m], micro.dim // 2)
            self.spectrum = nn.Linear(n_features(m, where.token_s[m]), micro.dim - micro.dim // 2)
            self.mix = nn.Linear(micro.dim, micro.dim)
            self.slot = nn.Parameter(torch.empty(len(CONFIG.modalities[m].slots), micro.dim))
            self.times = torch.from_numpy(time_code(where.tokens[m], micro.dim))

        def forward(self, x, bands):
            h = torch.cat([self.amplitude(x), self.spectrum(bands)], -1)
            return self.mix(functional.gelu(h, approximate="tanh")) + self.slot[:, None] + self.times.to(self.slot)

    class ModalityEncoder(nn.Module):
        def __init__(self, m):
            super().__init__()
            self.tokenizer, self.features = Tokenizer(m), filterbank(m)
            self.blocks = nn.ModuleList(
                Block(micro.dim, micro.heads, Mlp(micro.dim, micro.mlp_ratio * micro.dim))
                for _ in range(micro.private_depth)
            )
            self.pool = nn.Linear(micro.dim, 1)

        def forward(self, signal, ok):  # (B, C, T), (B, C, n)
            b, c, n = ok.shape
            bands = self.features(signal)
            h = self.tokenizer(signal.view(b, c, n, -1), bands).view(b, c * n, -1)
            for block in self.blocks:
                h, _ = block(h, ok.view(b, c * n))
            h = h.view(b, c, n, -1)
            weight = self.pool(h)[..., 0].masked_fill(~ok, -1e30).softmax(1).masked_fill(~ok, 0.0)
            measured = (bands * ok[..., None]).sum(1) / ok.sum(1).clamp(min=1)[..., None]
            return (weight[..., None] * h).sum(1), measured, ok.any(1)

    class MicroEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.private = nn.ModuleDict({m.value: ModalityEncoder(m) for m in where.tokens})
            self.modality = nn.Parameter(torch.empty(len(where.tokens), micro.dim))
            hidden = micro.mlp_ratio * micro.dim
            self.shared = nn.ModuleList(
                Block(micro.dim, micro.heads, MixtureOfExperts(micro.dim, hidden, micro.experts, micro.top_k))
                for _ in range(micro.shared_depth)
            )
            self.norm = nn.RMSNorm(micro.dim, 1e-6)

        def forward(self, batch):
            xs, oks, measured, width = [], [], [], measured_width(CONFIG.modalities)
            for i, m in enumerate(where.tokens):
                signal, usable = batch[m.value]["signal"], batch[m.value]["usable"]
                b, c, _ = signal.shape
                ok = usable.view(b, c, where.tokens[m], -1).all(-1)
                h, bands, there = self.private[m.value](signal, ok)
                xs.append(h + self.modality[i])
                oks.append(there)
                measured.append(functional.pad(bands, (0, width - bands.shape[-1])))
            x, ok, losses = torch.cat(xs, 1), torch.cat(oks, 1), 0.0
            for block in self.shared:
                x, loss = block(x, ok)
                losses = losses + loss / len(self.shared)
            x = torch.cat([self.norm(x), torch.cat(measured, 1)], -1)
            return x.masked_fill(~ok[..., None], 0.0), losses

    module, state = MicroEncoder(), {}
    for name, value in params.items():
        value = torch.from_numpy(np.array(value))
        *path, last = name.removeprefix("micro/").split("/")
        if last == "kernel":
            value = value.T
        state[".".join([*path, {"kernel": "weight", "scale": "weight"}.get(last, last)])] = value
    module.load_state_dict(state)
    return module


def micro_torch(n: int) -> dict[str, float]:
    import torch

    from sleepmami_jax.models.sleepmami import merge

    graph, trained, params = micro_params()
    module = torch_micro(trained)
    batch = signals(n)
    tensors = {m: {k: torch.from_numpy(v) for k, v in values.items()} for m, values in batch.items()}
    ours = np.asarray(merge(graph, params).micro(batch, exact=True).x)
    with torch.no_grad():
        apart = np.abs(module(tensors)[0].numpy() - ours).max()
    if apart > 1e-3:
        raise AssertionError(f"the two networks differ by {apart}: this would compare nothing")

    def loss():
        x, router = module(tensors)
        return (x**2).mean() + router

    return torch_case(module, loss)


def settings(one_core: bool) -> dict[str, str]:
    """Environment of the measured processes."""
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    if one_core:
        chosen |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        chosen["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return os.environ | chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16, help="epochs, or sequences of the plain transformer (16)")
    parser.add_argument("--one-core", action="store_true", help="one thread, CPU time: for a busy machine")
    parser.add_argument("--case", choices=CASES, help="measure this one here and print JSON")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(globals()[args.case.replace(" ", "_")](args.batch)))
        return
    if args.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runs: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(args.rounds):
        for case in CASES:
            command = [sys.executable, __file__, "--case", case, "--batch", str(args.batch)]
            out = subprocess.run(command, env=settings(args.one_core), capture_output=True, text=True)
            if out.returncode:
                raise RuntimeError(f"{case}: {out.stderr}")
            runs[case].append(json.loads(out.stdout.splitlines()[-1]))
    print(f"{'':14}{'ms':>8}{'CPU ms':>8}{'system ms':>11}{'faults':>9}{'temp MiB':>10}")
    for case, results in runs.items():
        m = {k: statistics.median(r[k] for r in results) for k in results[0]}
        temp = f"{m['temp_mib']:>10.0f}" if "temp_mib" in m else ""
        print(f"{case:14}{m['ms']:>8.0f}{m['cpu_ms']:>8.0f}{m['system_ms']:>11.0f}{m['faults']:>9.0f}{temp}")
    measure = "cpu_ms" if args.one_core else "ms"
    for a, b in PAIRS:
        ratios = [x[measure] / y[measure] for x, y in zip(runs[a], runs[b], strict=True)]
        print(f"{a} / {b}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
