"""SleepMaMi in PyTorch: the same model as in JAX, from `config.json` and `model.safetensors` in this folder.

It needs torch, numpy and safetensors, on any CPU or GPU. Beside it lies `sleepmami_signals.py`: from samples as they
were recorded to what the model reads, and from probabilities to events. `modeling_sleepmami.py` is the same model for
those who have transformers, and read by nobody else.

    import sys
    sys.path.insert(0, "FOLDER")
    from sleepmami_torch import load

    model = load("FOLDER")
    night = model.score_arrays({"C4-M1": (x_uv, 256.0), "SPO2": (spo2_pct, 1.0)})
    night["stages"], night["events"]["breathing"], night["vector"]

In comments and shapes B is a batch of epochs of 30 s, N one of nights, C channels of a modality, T samples of an epoch,
E epochs of a night, L tokens of an epoch, D the width of a token. A channel or second that is not there is masked: it
changes no result. Weights may be bfloat16 (`in_bfloat16`): everything is computed in the dtype of the weights it meets.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if __package__:  # where transformers has copied it to
    from .sleepmami_folder import Form, described_in, digest, refusing, seal
    from .sleepmami_signals import ScoresArrays, filterbank
else:
    from sleepmami_folder import Form, described_in, digest, refusing, seal
    from sleepmami_signals import ScoresArrays, filterbank

EPOCH_S = 30
CONV_WIDTH = 4  # Mamba's short causal convolution
LOCAL_WIDTH = 9  # looks that a convolution of the fast path sees
STILL = 0.1  # a log amplitude that varies less over a night is not blown up
MASKED = -1e30  # finite, so that a row without any key stays finite
BLOCK_EPOCHS = 48  # of a night that the Micro-Encoder reads at once
AT_ONCE = 2048  # steps of a night that are scanned at once
FORGOTTEN = -60.0  # the logarithm of a decay that is nothing beside 1
WIDE = 256  # of a Macro-Encoder worth several threads: at 64 they wait longer than they compute; between, assumed
MOST_BLOCKS = 8  # side by side on a CPU, so that memory has an end where there are many cores; assumed
FLOAT32 = re.compile(r"(norm\w*\.weight|A_log|dt_bias|\bD|router\.weight)$|^heads\.")
"""Weights that stay float32 in a bfloat16 model: gains, decays and steps, the router, logits."""
AGAIN = "export the model again (`sleepmami export --to torch`)"
FORM = Form("sleepmami-torch", 2, {"weights_sha256": "a text"}, AGAIN)
FILES = ("sleepmami_torch.py", "sleepmami_folder.py", "sleepmami_signals.py", "sleepmami_adapters.py")
FILES += ("modeling_sleepmami.py",)
"""What lies in a folder besides weights, their description and what a reader is told."""
PARTS = ("format", "version", "use", "exported_from", "model", "tasks", "thresholds", "preprocessing", "card")
PARTS += ("weights_sha256", "sha256")
"""What `config.json` says, besides `FOR_TRANSFORMERS`."""
FOR_TRANSFORMERS = {
    "model_type": "sleepmami",
    "architectures": ["SleepMaMiModel"],
    "auto_map": {
        "AutoConfig": "modeling_sleepmami.SleepMaMiConfig",
        "AutoModel": "modeling_sleepmami.SleepMaMiModel",
    },
    "dtype": "float32",
}
"""What transformers looks for in `config.json`."""
FEATURES = ("vector", "epochs", "seconds", "fast")
"""What `SleepMaMi.forward` gives besides the logits of tasks."""


class Linear(nn.Linear):
    """In the dtype of the weight, whatever that of x."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class RMSNorm(nn.Module):
    """Zhang & Sennrich 2019; in float32, given in the dtype of x."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * (torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6) * self.weight)).to(x.dtype)


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def masked_mean(x: Tensor, ok: Tensor, dim: int) -> Tensor:
    """Mean of x (..., D) over `dim` where ok (...) holds; 0 where nothing does."""
    weight = ok.float()[..., None]
    return ((x * weight).sum(dim) / weight.sum(dim).clamp(min=1)).to(x.dtype)


def within_night(x: Tensor, ok: Tensor, causal: bool) -> Tensor:
    """(N, E, ..., D), (N, E, ...) -> standardised over the night, cut at 5, 0 where not ok; `causal`: by the past."""
    wide, weight = x.float(), ok[..., None].float()
    total = (lambda v: v.cumsum(1)) if causal else (lambda v: v.sum(1, keepdim=True))
    count = total(weight).clamp(min=1)
    mean = total(wide * weight) / count
    if causal:
        variance = total(wide.square() * weight) / count - mean.square()
    else:
        mean = mean + total((wide - mean) * weight) / count
        variance = total((wide - mean).square() * weight) / count
    return (((wide - mean) * torch.rsqrt(variance.clamp(min=0) + STILL**2)).clamp(-5, 5) * weight).to(x.dtype)


def side_by_side(function: Callable, items: Sequence) -> list:
    """`function` of each item, without gradients, on as many threads as PyTorch may use."""
    threads = torch.get_num_threads()
    workers = min(threads, len(items), MOST_BLOCKS)
    if workers < 2:
        return [function(item) for item in items]

    def begin() -> None:  # what a new thread does not know
        torch.set_num_threads(threads // workers)
        torch.set_grad_enabled(False)

    with on_threads(threads), ThreadPoolExecutor(workers, initializer=begin) as pool:
        return list(pool.map(function, items))


@contextmanager
def on_threads(n: int) -> Iterator[None]:
    """Operations run on `n` threads, afterwards on as many as before: new threads of others go by the last word."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_constants(module: nn.Module) -> None:
    """What a module never learns becomes buffers that are not stored; real ones wherever parameters are made."""
    for name, value in module.constants().items():
        module.register_buffer(name, torch.tensor(np.ascontiguousarray(value), device="cpu"), persistent=False)


# ---------------------------------------------------------------------------------------------- Micro-Encoder


class Look(nn.Module):
    """Power in bands of windows of an epoch, by fixed filters; see `sleepmami_signals.filterbank`."""

    def __init__(self, look: dict, rate_hz: int):
        super().__init__()
        self.look, self.rate_hz = look, rate_hz
        *_, self.margins, self.hop = filterbank(look, rate_hz)
        keep_constants(self)

    def constants(self) -> dict[str, np.ndarray]:
        wave, band, energy, *_ = filterbank(self.look, self.rate_hz)
        return {"wave": wave.T[:, None], "band": np.concatenate([band, band]).T, "energy": energy}

    def forward(self, heard: Tensor, ok: Tensor) -> Tensor:  # (R, 1, T), (R, 30) float32 -> (R, bands, looks)
        before, after = self.margins
        ends = heard[..., 1 : before + 1].flip(-1), heard[..., -after - 1 : -1].flip(-1)  # F.pad reflects slowly
        padded = torch.cat([ends[0], heard, ends[1]], -1)
        power = self.band @ F.conv1d(padded, self.wave, stride=self.hop).square()  # of cosines, and of sines
        return power / (ok @ self.energy).clamp(min=0.1)[:, None]  # by the window's energy that was usable


class Filterbank(nn.Module):
    """(B, C, T), (B, C, 30) -> (B, C, K, F): what is measured of each token; nothing here is learnt."""

    def __init__(self, facts: dict):
        super().__init__()
        self.tokens = EPOCH_S // facts["token_s"]
        self.looks = nn.ModuleList(Look(look, facts["rate_hz"]) for look in facts["looks"])

    @torch.no_grad()
    def forward(self, signal: Tensor, usable: Tensor) -> Tensor:
        ok = usable.flatten(0, 1).float()
        x = signal.float().reshape(*ok.shape, -1)
        level = (x.sum(-1) * ok).sum(-1) / (ok.sum(-1) * x.shape[-1]).clamp(min=1)
        heard = ((x - level[:, None, None]) * ok[..., None]).flatten(1)[:, None]
        parts = [look(heard, ok).mT.reshape(*usable.shape[:2], self.tokens, -1) for look in self.looks]
        return 0.25 * torch.log(torch.cat(parts, -1) + 1e-6) + 0.5


def time_code(n: int, dim: int) -> np.ndarray:
    """(n, dim) float32 sinusoidal positions (Vaswani et al. 2017)."""
    angle = np.arange(n)[:, None] * np.exp(-np.log(1e4) * np.arange(0, dim, 2) / dim)
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)[:, :dim].astype(np.float32)


class Tokenizer(nn.Module):
    """A token sees its patch as samples and as log power."""

    def __init__(self, samples: int, features: int, slots: int, tokens: int, dim: int):
        super().__init__()
        self.amplitude, self.spectrum = Linear(samples, dim // 2), Linear(features, dim - dim // 2)
        self.mix, self.slot = Linear(dim, dim), nn.Parameter(torch.zeros(slots, dim))
        self.shape = tokens, dim
        keep_constants(self)

    def constants(self) -> dict[str, np.ndarray]:
        return {"time": time_code(*self.shape)}

    def forward(self, patches: Tensor, features: Tensor) -> Tensor:  # (B, C, K, P), (B, C, K, F) -> (B, C, K, dim)
        h = self.mix(gelu(torch.cat([self.amplitude(patches), self.spectrum(features)], -1)))
        return h + self.slot[:, None] + self.time.to(h.dtype)


class Attention(nn.Module):
    """Multi-head self-attention; masked keys get no weight."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = Linear(dim, 3 * dim, bias=False), Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:  # (B, L, dim), (B, L)
        b, length, dim = x.shape
        q, k, v = self.qkv(x).reshape(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = torch.where(ok, 0.0, MASKED)[:, None, None].to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(b, length, dim))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.up, self.down = Linear(dim, hidden), Linear(hidden, dim)

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:
        return self.down(gelu(self.up(x)))


class MixtureOfExperts(nn.Module):
    """Each token goes to its top-k experts, GELU MLPs without biases; none is dropped."""

    def __init__(self, dim: int, hidden: int, experts: int, top_k: int):
        super().__init__()
        self.top_k, self.router = top_k, Linear(dim, experts, bias=False)
        self.up = nn.Parameter(torch.zeros(experts, dim, hidden))
        self.down = nn.Parameter(torch.zeros(experts, hidden, dim))

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:  # (B, L, dim), (B, L)
        rows, there = x.reshape(-1, x.shape[-1]), ok.reshape(-1, 1)
        gate, chosen = self.router(rows.float()).softmax(-1).topk(self.top_k, -1)
        gate, rows = gate / gate.sum(-1, keepdim=True), rows.to(self.up.dtype)
        y = torch.zeros_like(rows)
        for e in range(len(self.up)):
            token, choice = torch.nonzero((chosen == e) & there, as_tuple=True)
            h = gelu(rows[token] @ self.up[e]) @ self.down[e]
            y = y.index_add(0, token, h * gate[token, choice, None].to(h.dtype))
        return y.reshape(x.shape)


class Block(nn.Module):
    """Attention, then an MLP or experts, each behind an RMS norm and a residual."""

    def __init__(self, micro: dict, experts: int):
        super().__init__()
        dim, hidden = micro["dim"], micro["mlp_ratio"] * micro["dim"]
        self.norm_attention, self.attention = RMSNorm(dim), Attention(dim, micro["heads"])
        self.norm_feedforward = RMSNorm(dim)
        mlp = experts == 1
        self.feedforward = Mlp(dim, hidden) if mlp else MixtureOfExperts(dim, hidden, experts, micro["top_k"])

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), ok)
        return x + self.feedforward(self.norm_feedforward(x), ok)


class ModalityEncoder(nn.Module):
    """The channels of one modality -> one sequence of tokens, and what was measured there."""

    def __init__(self, facts: dict, micro: dict):
        super().__init__()
        self.filterbank, dim = Filterbank(facts), micro["dim"]
        self.tokens, self.token_s = EPOCH_S // facts["token_s"], facts["token_s"]
        samples = facts["token_s"] * facts["rate_hz"]
        self.tokenizer = Tokenizer(samples, facts["features"], len(facts["slots"]), self.tokens, dim)
        self.blocks = nn.ModuleList(Block(micro, 1) for _ in range(micro["private_depth"]))
        self.pool = Linear(dim, 1)

    def forward(self, signal: Tensor, usable: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, T), (B, C, 30) -> tokens (B, K, dim), measured (B, K, F), which are there (B, K)."""
        b, c, _ = signal.shape
        k, bands = self.tokens, self.filterbank(signal, usable)
        ok = usable.reshape(b, c, k, self.token_s).all(-1)
        h = self.tokenizer(signal.reshape(b, c, k, -1), bands).reshape(b, c * k, -1)
        for block in self.blocks:
            h = block(h, ok.reshape(b, c * k))
        h = h.reshape(b, c, k, -1)
        weight = torch.where(ok, self.pool(h)[..., 0].float(), MASKED).softmax(1) * ok  # over channels: a set
        mean = (bands * ok[..., None]).sum(1) / ok.sum(1).clamp(min=1)[..., None]
        return (weight[..., None].to(h.dtype) * h).sum(1), mean, ok.any(1)


class MicroEncoder(nn.Module):
    """Private encoders of the modalities, then shared blocks over all of their tokens."""

    def __init__(self, micro: dict, modalities: dict):
        super().__init__()
        self.measured = max(facts["features"] for facts in modalities.values())
        self.private = nn.ModuleDict({m: ModalityEncoder(facts, micro) for m, facts in modalities.items()})
        self.modality = nn.Parameter(torch.zeros(len(modalities), micro["dim"]))
        self.shared = nn.ModuleList(Block(micro, micro["experts"]) for _ in range(micro["shared_depth"]))
        self.norm = RMSNorm(micro["dim"])

    def forward(self, signals: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """{modality: (signal (B, C, T) float32, usable (B, C, 30) bool)} -> tokens (B, L, D) and mask (B, L)."""
        xs, oks, measured = [], [], []
        for (name, encoder), modality in zip(self.private.items(), self.modality, strict=True):
            h, bands, there = encoder(*signals[name])
            xs.append(h + modality)
            oks.append(there)
            measured.append(F.pad(bands, (0, self.measured - bands.shape[-1])))
        x, ok = torch.cat(xs, 1), torch.cat(oks, 1)
        for block in self.shared:
            x = block(x, ok)
        x = torch.cat([self.norm(x), torch.cat(measured, 1).to(x.dtype)], -1)
        return torch.where(ok[..., None], x, 0.0), ok


# ------------------------------------------------------------------------------------ state-space blocks


def ssd(state: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Mamba-2's scan by chunks (Dao & Gu 2024, listing 1): h_t = exp(dt_t a) h_{t-1} + dt_t b_t x_t^T, y_t = c_t h_t.

    Args:
      state: (B, N, H, P), before the first step.
      x: (B, L, H, P); dt: (B, L, H), 0 where masked; a: (H,) < 0; b, c: (B, L, N), shared by the heads.

    Returns:
      (B, L, H, P) of the dtype of x, and the state after the last step. Decays and states are float32 whatever x is.
    """
    lacking = -x.shape[1] % chunk

    def split(v: Tensor) -> Tensor:  # (B, L, ...) -> (B, K, chunk, ...)
        v = F.pad(v, (0, 0) * (v.ndim - 2) + (0, lacking)) if lacking else v
        return v.reshape(v.shape[0], -1, chunk, *v.shape[2:])

    x, dt, b, c = map(split, (x, dt, b, c))
    total = (dt * a).cumsum(2)  # (B, K, c, H)
    by_head = total.mT.contiguous()
    # What comes later is taken away afterwards: of -inf a CPU finds the exponential slowly.
    between = (by_head[..., None] - by_head[..., None, :]).clamp(FORGOTTEN, 0).exp()  # (B, K, H, c, c)
    scores = (c @ b.mT).float().tril()[:, :, None] * between
    x_dt = (x * dt[..., None]).to(x.dtype)
    to_end = (x_dt * (total[:, :, -1:] - total).exp()[..., None]).to(x.dtype)
    left = (b.mT @ to_end.flatten(-2)).float().unflatten(-1, x.shape[-2:])
    begun, state = gathered(state, total[:, :, -1].exp()[:, :, None, :, None], left)
    across = (c @ begun.to(x.dtype).flatten(-2)).float().unflatten(-1, x.shape[-2:])
    y = total.exp()[..., None] * across + torch.einsum("bkhij,bkjhp->bkihp", scores.to(x.dtype), x_dt).float()
    y = y.to(x.dtype).flatten(1, 2)
    return y[:, :-lacking] if lacking else y, state


def gathered(state: Tensor, keep: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """(B, ...), (B, K, ...) twice -> the state before each step of s_{k+1} = keep_k s_k + left_k, and the last one."""
    before = []
    for keep_k, left_k in zip(keep.unbind(1), left.unbind(1), strict=True):
        before.append(state)
        state = torch.addcmul(left_k, keep_k, state)
    return torch.stack(before, 1), state


def selective_scan(state: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Mamba-1's scan step by step: (B, D, N), x, dt (B, L, D), a (D, N), b, c (B, L, N) -> (B, L, D) and the state."""
    ys = []
    for t in range(x.shape[1]):
        drive = (dt[:, t] * x[:, t].float())[..., None] * b[:, t, None].float()
        state = (dt[:, t, :, None] * a).exp() * state + drive
        ys.append((state * c[:, t, None].float()).sum(-1).to(x.dtype))
    return torch.stack(ys, 1), state


def convolved(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """(N, T + around, C) -> (N, T, C), in the dtype of the weight.

    As a picture of one row, whose channels may lie side by side in memory: nothing is transposed, and a CPU takes half
    the time.
    """
    x = x.to(conv.weight.dtype).mT[:, :, None]
    return F.conv2d(x, conv.weight[:, :, None], conv.bias, dilation=(1, *conv.dilation), groups=conv.groups)[:, :, 0].mT


class Direction(nn.Module):
    """What a direction of reading does not share; names as in `mamba_ssm.Mamba2`."""

    def __init__(self, inner: int, macro: dict):
        super().__init__()
        self.inner, self.state, self.chunk = inner, macro["state"], macro["chunk"]
        heads, self.channels = inner // macro["head_dim"], inner + 2 * self.state
        self.conv1d = nn.Conv1d(self.channels, self.channels, CONV_WIDTH, groups=self.channels)
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.zeros(heads)) for _ in range(3))
        self.norm = RMSNorm(inner)

    def before(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The last inputs of the convolution, and the state, before the first step."""
        heads, nights = len(self.D), len(h)
        state = h.new_zeros(nights, self.state, heads, self.inner // heads, dtype=torch.float32)
        return h.new_zeros(nights, CONV_WIDTH - 1, self.channels), state

    def forward(self, before: tuple, h: Tensor, ok: Tensor) -> tuple[tuple, Tensor]:
        """What `before` gives, (B, L, 2 inner + 2N + H), 0 where not ok, (B, L) -> the same after it, (B, L, inner)."""
        (last, state), (z, xbc, dt) = before, h.split([self.inner, self.channels, len(self.D)], -1)
        xbc = torch.cat([last, xbc], 1)
        last = xbc[:, 1 - CONV_WIDTH :]
        xbc = F.silu(convolved(self.conv1d, xbc)).to(z.dtype)
        x, b, c = xbc.split([self.inner, self.state, self.state], -1)
        x = x.unflatten(-1, (len(self.D), -1))
        dt = F.softplus(dt.float() + self.dt_bias) * ok[..., None]
        y, state = ssd(state, x, dt, -self.A_log.exp(), b, c, self.chunk)
        y = (y + self.D[:, None] * x).flatten(2)
        return (last, state), self.norm((y * F.silu(z)).to(z.dtype))


class SelectiveDirection(nn.Module):
    """The same for Mamba-1's scan; names as in `mamba_ssm.Mamba`."""

    def __init__(self, inner: int, macro: dict):
        super().__init__()
        self.rank, self.state = -(-inner // 32), macro["state"]
        self.conv1d = nn.Conv1d(inner, inner, CONV_WIDTH, groups=inner)
        self.x_proj, self.dt_proj = Linear(inner, self.rank + 2 * self.state, False), Linear(self.rank, inner, False)
        self.dt_bias, self.D = (nn.Parameter(torch.zeros(inner)) for _ in range(2))
        self.A_log = nn.Parameter(torch.zeros(inner, self.state))

    def before(self, h: Tensor) -> tuple[Tensor, Tensor]:
        inner, nights = len(self.D), len(h)
        state = h.new_zeros(nights, inner, self.state, dtype=torch.float32)
        return h.new_zeros(nights, CONV_WIDTH - 1, inner), state

    def forward(self, before: tuple, h: Tensor, ok: Tensor) -> tuple[tuple, Tensor]:  # (B, L, 2 inner), (B, L)
        (last, state), (z, x) = before, h.chunk(2, -1)
        x = torch.cat([last, x], 1)
        last = x[:, 1 - CONV_WIDTH :]
        x = F.silu(convolved(self.conv1d, x)).to(z.dtype)
        low, b, c = self.x_proj(x).split([self.rank, self.state, self.state], -1)
        dt = F.softplus(self.dt_proj(low).float() + self.dt_bias) * ok[..., None]
        y, state = selective_scan(state, x, dt, -self.A_log.exp(), b, c)
        return (last, state), ((y + self.D * x) * F.silu(z)).to(z.dtype)


def read(direction: nn.Module, parts: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """What a direction makes of stretches that follow each other, see its `forward`."""
    before, ys = direction.before(parts[0][0]), []
    for h, ok in parts:
        before, y = direction(before, h, ok)
        ys.append(y)
    return ys


class StateSpaceBlock(nn.Module):
    """A residual block that reads the night from sleep onset and, if bidirectional, from the morning too.

    It reads stretch by stretch: what is made on the way of a whole night's seconds leaves the caches of a CPU.
    """

    def __init__(self, dim: int, macro: dict):
        super().__init__()
        inner = 2 * dim
        direction, beside = {
            "ssd": (Direction, 2 * macro["state"] + inner // macro["head_dim"]),
            "selective": (SelectiveDirection, 0),
        }[macro["mixer"]]
        self.norm, self.in_proj = RMSNorm(dim), Linear(dim, 2 * inner + beside, bias=False)
        self.directions = nn.ModuleList(direction(inner, macro) for _ in range(1 + macro["bidirectional"]))
        self.out_proj = Linear(inner, dim, bias=False)

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:  # (B, L, dim), (B, L)
        stretches = [slice(start, start + AT_ONCE) for start in range(0, x.shape[1], AT_ONCE)]
        parts = [(self.in_proj(self.norm(x[:, at]) * ok[:, at, None]), ok[:, at]) for at in stretches]
        ys = read(self.directions[0], parts)
        for backward in self.directions[1:]:
            from_end = read(backward, [(h.flip(1), ok.flip(1)) for h, ok in reversed(parts)])
            ys = [y + back.flip(1) for y, back in zip(ys, reversed(from_end), strict=True)]
        return x + self.out_proj(torch.cat(ys, 1)) * ok[..., None]


# ---------------------------------------------------------------------------------------------- Macro-Encoder


class ModalityMerge(nn.Module):
    """A linear map per modality; their mean is taken over those that are there."""

    def __init__(self, modalities: dict, inputs: int, dim: int):
        super().__init__()
        self.maps = nn.ModuleDict({m: Linear(inputs, dim) for m in modalities})


class MacroEncoder(nn.Module):
    """Summaries of epochs -> the night's vector, and features of every epoch."""

    def __init__(self, config: dict, modalities: dict, width: int, measured: int):
        super().__init__()
        c, self.learnt = config["macro"], config["micro"]["dim"]
        dim, self.merge, self.causal = c["dim"], c["merge"], not c["bidirectional"]
        self.enter = ModalityMerge(modalities, width + 2 * measured, dim)
        self.levels = nn.ModuleList(
            nn.ModuleList(StateSpaceBlock(dim, c) for _ in range(c["blocks_per_level"])) for _ in range(c["levels"])
        )
        self.down = nn.ModuleList(Linear(self.merge * dim, dim) for _ in range(c["levels"] - 1))
        self.up = nn.ModuleList(Linear(dim, dim) for _ in range(c["levels"] - 1))
        self.norm, self.pool = RMSNorm(dim), Linear(dim, c["pool_heads"])
        self.vector = Linear(2 * c["pool_heads"] * dim + 2 * len(modalities) * width, dim)

    def forward(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Summaries (N, E, M, W) and which modalities are there (N, E, M) -> vector (N, Dm), epochs (N, E, Dm)."""
        length = x.shape[1]
        pad = -length % self.merge ** len(self.down)
        x, present = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(present, (0, 0, 0, pad))
        ok, inputs = present.any(-1), torch.cat([x, within_night(x[..., self.learnt :], present, self.causal)], -1)
        maps = self.enter.maps.values()
        h = masked_mean(torch.stack([m(inputs[..., i, :]) for i, m in enumerate(maps)], -2), present, -2)
        skips = []
        for i, blocks in enumerate(self.levels):
            for block in blocks:
                h = block(h, ok)
            if i < len(self.down):
                skips.append(h)
                h = self.down[i]((h * ok[..., None]).reshape(len(h), -1, self.merge * h.shape[-1]))
                ok = ok.reshape(len(ok), -1, self.merge).any(-1)
        vector = self.vector(torch.cat([self._pool(h, ok), self._statistics(x, present)], -1))
        for skip, up in zip(reversed(skips), reversed(self.up), strict=True):
            h = skip + up(h.repeat_interleave(self.merge, 1))
        return vector, self.norm(h)[:, :length]

    def _pool(self, h: Tensor, ok: Tensor) -> Tensor:
        """Attentive statistics pooling (Okabe et al. 2018): (N, E, Dm), (N, E) -> (N, 2 heads Dm)."""
        weight = torch.where(ok[..., None], self.pool(h).float(), MASKED).softmax(1) * ok[..., None]
        dtype, h = h.dtype, self.norm(h).float()
        mean = torch.einsum("neh,ned->nhd", weight, h)
        variance = torch.einsum("neh,ned->nhd", weight, h * h) - mean * mean
        return torch.cat([mean, (variance.clamp(min=0) + 1e-4).sqrt()], -1).flatten(1).to(dtype)

    def _statistics(self, x: Tensor, present: Tensor) -> Tensor:
        """Mean and standard deviation over the night of each modality's summaries: (N, 2 M W)."""
        wide = x.float()
        mean = masked_mean(wide, present, 1)
        variance = masked_mean((wide - mean[:, None]).square(), present, 1)
        spread = (variance + 1e-4).sqrt() * present.any(1)[..., None]
        return torch.cat([mean, spread], -1).flatten(1).to(x.dtype)


class SecondsDecoder(nn.Module):
    """Tokens of a second, the epoch they lie in, and their neighbours -> features of every second."""

    def __init__(self, config: dict, modalities: dict, width: int, measured: int):
        super().__init__()
        c, self.learnt = config["macro"], config["micro"]["dim"]
        self.modalities, self.causal = modalities, not c["bidirectional"]
        self.enter = ModalityMerge(modalities, width + measured, c["seconds_dim"])
        self.context = Linear(c["dim"], c["seconds_dim"])
        self.blocks = nn.ModuleList(StateSpaceBlock(c["seconds_dim"], c) for _ in range(c["seconds_depth"]))
        self.norm = RMSNorm(c["seconds_dim"]) if c["seconds_depth"] else nn.Identity()

    def forward(self, tokens: Tensor, ok: Tensor, epochs: Tensor) -> Tensor:
        """(N, E, L, D), (N, E, L), (N, E, Dm) -> (N, 30 E, Ds)."""
        total = count = 0.0
        for name, facts in self.modalities.items():
            x, there = tokens[:, :, facts["span"]], ok[:, :, facts["span"]]
            power = within_night(x[..., self.learnt :].flatten(1, 2), there.flatten(1), self.causal)
            part = self.enter.maps[name](torch.cat([x, power.reshape(*x.shape[:3], -1)], -1))
            weight = there[..., None].to(part.dtype)
            total = total + (part * weight).repeat_interleave(facts["token_s"], 2)
            count = count + weight.repeat_interleave(facts["token_s"], 2)
        h = (total / count.clamp(min=1)).to(tokens.dtype) + self.context(epochs)[:, :, None]
        h, seen = h.flatten(1, 2), (count[..., 0] > 0).flatten(1)
        for block in self.blocks:
            h = block(h, seen)
        return self.norm(h)


class LocalMix(nn.Module):
    """A look and its neighbours `dilation` apart; a causal one sees those before it alone, twice as far."""

    def __init__(self, dim: int, dilation: int, causal: bool):
        super().__init__()
        reach = dilation * (LOCAL_WIDTH // 2)
        self.around = (2 * reach, 0) if causal else (reach, reach)
        self.norm, self.out = RMSNorm(dim), Linear(dim, dim)
        self.conv = nn.Conv1d(dim, dim, LOCAL_WIDTH, dilation=dilation)

    def forward(self, x: Tensor, ok: Tensor) -> Tensor:  # (N, T, dim), (N, T)
        h = F.pad(self.norm(x) * ok[..., None], (0, 0, *self.around))
        return x + self.out(gelu(convolved(self.conv, h)))


class FastDecoder(nn.Module):
    """From seconds on to looks at the EEG, several in each: what tells of waves."""

    def __init__(self, config: dict, modalities: dict, fast_hz: int):
        super().__init__()
        c, self.learnt, self.hz = config["macro"], config["micro"]["dim"], fast_hz
        self.eeg, self.causal = modalities["EEG"], not c["bidirectional"]
        self.bands, self.looks = len(self.eeg["looks"][0]["bands_hz"]), fast_hz * self.eeg["token_s"]
        self.enter, self.context = Linear(2 * self.bands, c["fast_dim"]), Linear(c["seconds_dim"], c["fast_dim"])
        self.mix = nn.ModuleList(LocalMix(c["fast_dim"], dilation, self.causal) for dilation in (1, 5))
        self.norm = RMSNorm(c["fast_dim"])

    def forward(self, tokens: Tensor, ok: Tensor, seconds: Tensor) -> Tensor:
        """(N, E, L, D), (N, E, L), (N, 30 E, Ds) -> (N, 30 E fast_hz, Df)."""
        n, span = len(tokens), self.eeg["span"]
        power = tokens[:, :, span, self.learnt :][..., : self.looks * self.bands].reshape(n, -1, self.bands)
        there = ok[:, :, span].flatten(1).repeat_interleave(self.looks, 1)
        h = self.enter(torch.cat([power, within_night(power, there, self.causal)], -1))
        h = h + self.context(seconds).repeat_interleave(self.hz, 1)
        for mix in self.mix:
            h = mix(h, there)
        return self.norm(h)


# ---------------------------------------------------------------------------------------------- the whole model


class SleepMaMi(ScoresArrays, nn.Module):
    """Micro-Encoder, Macro-Encoder, the way back to seconds and parts of them, a linear head for each task.

    Args:
      described: `config.json` of an exported folder, as a dictionary.
    """

    def __init__(self, described: dict):
        super().__init__()
        self.build(described)

    def build(self, described: dict) -> None:
        """Makes all parts."""
        self.described = described
        config, self.preprocessing, self.tasks = (described[n] for n in ("model", "preprocessing", "tasks"))
        modalities = self.modalities = {m: dict(facts) for m, facts in self.preprocessing["modalities"].items()}
        place = 0
        for facts in modalities.values():
            facts["span"] = slice(place, place := place + EPOCH_S // facts["token_s"])
        micro, macro, fast_hz = config["micro"], config["macro"], self.preprocessing["fast_hz"]
        self.micro = MicroEncoder(micro, modalities)
        self.measured = measured = self.micro.measured
        width = micro["dim"] + measured
        self.macro = MacroEncoder(config, modalities, width + measured, measured)
        self.seconds = SecondsDecoder(config, modalities, width, measured)
        fast = any(task["rate_hz"] > 1 for task in self.tasks)
        self.fast = FastDecoder(config, modalities, fast_hz) if fast else None

        def head(task: dict) -> Linear:
            if task["kind"] == "stages":
                return Linear(macro["dim"], len(self.preprocessing["stages"]))
            inputs = macro["fast_dim"] if task["rate_hz"] > 1 else macro["seconds_dim"]
            return Linear(inputs, 1 if len(task["events"]) == 1 else 1 + len(task["events"]))

        for task in self.tasks:
            check_task_name(task["name"])
        self.heads = nn.ModuleDict({task["name"]: head(task) for task in self.tasks})

    def summary(self, tokens: Tensor, ok: Tensor) -> tuple[Tensor, Tensor]:
        """Of each modality in each epoch the mean token and the spread of its measured part (N, E, M, W); (N, E, M)."""
        parts, present = [], []
        for facts in self.modalities.values():
            x, there = tokens[..., facts["span"], :], ok[..., facts["span"]]
            mean = masked_mean(x, there, -2)
            power, level = (v[..., -self.measured :].float() for v in (x, mean))
            spread = (masked_mean((power - level[..., None, :]).square(), there, -2) + 1e-6).sqrt()
            parts.append(torch.cat([mean, spread.to(mean.dtype)], -1))
            present.append(there.any(-1))
        return torch.stack(parts, -2), torch.stack(present, -1)

    def forward(self, tokens: Tensor, ok: Tensor) -> dict[str, Tensor]:
        """What the model says of nights of micro tokens (N, E, L, D) and their mask (N, E, L).

        Returns:
          "vector" (N, Dm), "epochs" (N, E, Dm), "seconds" (N, 30 E, Ds), "fast" (N, 30 E 8, Df) where a task needs it,
          and the logits of each task under its name, float32: of stages (N, E, 5), of events (N, 30 E rate_hz, K), K
          is 1 for yes against no, else none and the classes.
        """
        vector, epochs = self.macro(*self.summary(tokens, ok))
        seconds = self.seconds(tokens, ok, epochs)
        out = {"vector": vector, "epochs": epochs, "seconds": seconds}
        if self.fast is not None:
            out["fast"] = self.fast(tokens, ok, seconds)
        for task in self.tasks:
            at = "epochs" if task["kind"] == "stages" else "fast" if task["rate_hz"] > 1 else "seconds"
            out[task["name"]] = self.heads[task["name"]](out[at])
        return out

    def probabilities(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of `forward` -> by task (N, T, classes), of events the first is none."""
        found = {}
        for name in (task["name"] for task in self.tasks):
            yes = logits[name].sigmoid()
            found[name] = torch.cat([1 - yes, yes], -1) if yes.shape[-1] == 1 else logits[name].softmax(-1)
        return found

    def tokens_of(self, arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
        """The Micro-Encoder over many epochs, block by block.

        Blocks are encoded side by side where they can be, each on a thread of its own: operations are so small that
        several threads in one of them wait for each other most of the time.

        Args:
          arrays: {modality: (signal (E, C, T) float32, usable (E, C, 30) bool)}.

        Returns:
          tokens (E, L, D) and mask (E, L), where the model is; with gradients if they are enabled.
        """
        device, length = self.micro.modality.device, len(next(iter(arrays.values()))[0])

        def encoded(start: int) -> tuple[Tensor, Tensor]:
            part = slice(start, start + BLOCK_EPOCHS)
            return self.micro({m: tuple(torch.from_numpy(v[part]).to(device) for v in p) for m, p in arrays.items()})

        starts = range(0, length, BLOCK_EPOCHS)
        alone = device.type != "cpu" or torch.is_grad_enabled()
        blocks = [encoded(start) for start in starts] if alone else side_by_side(encoded, starts)
        return tuple(torch.cat(v) for v in zip(*blocks, strict=True))

    @torch.no_grad()
    def said_of(self, arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[dict, np.ndarray, np.ndarray]:
        """Of a night as `tokens_of` reads it: probabilities by task, vector (Dm,), mask of tokens (E, L)."""
        tokens, ok = (v[None] for v in self.tokens_of(arrays))
        narrow = self.described["model"]["macro"]["dim"] < WIDE
        with on_threads(1 if narrow else torch.get_num_threads()):
            logits = self(tokens, ok)
            said = self.probabilities(logits)
        probabilities = {name: p[0].float().cpu().numpy() for name, p in said.items()}
        return probabilities, logits["vector"][0].float().cpu().numpy(), ok[0].cpu().numpy()

    def in_bfloat16(self) -> SleepMaMi:
        """The same model with its matrices in bfloat16, in place; gains, decays, the router and heads stay float32."""
        for name, parameter in self.named_parameters():
            if not FLOAT32.search(name):
                parameter.data = parameter.data.bfloat16()
        return self

    def save(self, folder: str | Path, weights: dict[str, Tensor] | None = None) -> None:
        """Writes a folder like the one that this came from, float32; `sleepmami import-torch` takes it home.

        Args:
          weights: instead of its own, under the same names.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = self.state_dict() if weights is None else weights
        weights = {name: value.detach().float().cpu().contiguous() for name, value in weights.items()}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        described = self.described | {"weights_sha256": digest(folder / "model.safetensors")}
        described["sha256"] = seal(described)
        (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        for source in map(Path(__file__).with_name, FILES):
            if source.exists() and not (folder / source.name).exists():  # transformers copies no adapters
                shutil.copy(source, folder / source.name)


# ------------------------------------------------------------------------------------------ what a folder says


def check_task_name(name: str) -> None:
    """Raises ValueError for a task that PyTorch has no place for under its name."""
    if name in FEATURES or "." in name or hasattr(nn.ModuleDict(), name):
        taken = "the features of the model" if name in FEATURES else "PyTorch's modules"
        raise ValueError(f"task {name!r}: {taken} have that name, so its head cannot; give the task another name")


_MOST_OF_A_LOOK = 2**20
"""Windows of an epoch times their samples; what we use has 30,720."""


def _check_sizes(described: dict, n_weights: int) -> None:
    """Raises ValueError where a description asks for more than its file of weights can be of: it fills no memory."""
    micro, macro = described["model"]["micro"], described["model"]["macro"]
    depth = micro["private_depth"] + micro["shared_depth"] + macro["seconds_depth"]
    depth += macro["levels"] * max(1, macro["blocks_per_level"])
    if depth > n_weights or macro["chunk"] > 4096 or macro["merge"] ** max(0, macro["levels"] - 1) > 4096:
        raise ValueError(f"model: {depth} blocks, or a chunk or merge, beyond what {n_weights} weights can be of")
    for name, facts in described["preprocessing"]["modalities"].items():
        for look in facts["looks"]:
            window = look["window_s"] * facts["rate_hz"]
            if not 1 <= window * EPOCH_S * facts["rate_hz"] / look["hop"] <= _MOST_OF_A_LOOK:
                raise ValueError(f"preprocessing.modalities.{name:.40}.looks: windows beyond what an epoch has")


def _weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """All weights, float32. Raises ValueError or SafetensorError where they are not what is expected."""
    with safe_open(path, "pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        for name in sorted(expected.keys() | found.keys()):
            if name not in found or name not in expected:
                raise ValueError(f"{name} is {'missing' if name in expected else 'none of this model'}")
            if tuple(found[name].get_shape()) != tuple(expected[name].shape):
                raise ValueError(f"{name}: expected {tuple(expected[name].shape)}, found {found[name].get_shape()}")
            if found[name].get_dtype() not in ("F32", "F16"):
                raise ValueError(f"{name}: {found[name].get_dtype()}, expected float32 or float16")
    weights = {name: value.float() for name, value in load_file(path).items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} has values that are no numbers")
    return weights


def load(folder: str | Path) -> SleepMaMi:
    """The model of an exported folder, float32, on the CPU, in evaluation mode.

    Raises:
      ValueError: a file is missing, damaged or of something else; it is named.
    """
    folder = Path(folder)
    described, weights = described_in(folder, FORM), folder / "model.safetensors"
    with refusing(weights, FORM, SafetensorError), safe_open(weights, "pt") as file:
        n_weights = len(file.keys())
    with refusing(folder / "config.json", FORM):
        _check_sizes(described, n_weights)
        with torch.device("meta"):  # no memory for numbers that are not there
            model = SleepMaMi(described)
    with refusing(weights, FORM, SafetensorError):
        found = _weights(weights, model.state_dict())
        if digest(weights) != described["weights_sha256"]:  # not before its size is seen to be what it should be
            raise ValueError("is not the file that config.json describes; `model.save` writes both")
        model.load_state_dict(found, assign=True)
    return model.eval()
