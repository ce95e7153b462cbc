"""What a folder says of itself: `config.json` is read, and refused where it was damaged or is of something else.

PyTorch's form and ONNX's share it; it needs nothing but Python. What is wrong with a file is told in one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 2**24  # of `config.json`


class Form(NamedTuple):
    """A kind of folder."""

    name: str
    version: int
    says: dict
    """What `config.json` says besides what every form says, in the words of `_DESCRIPTION`."""
    again: str
    """What to do about a damaged one."""


_SIZE, _NAMES = "from 1 to 65536", ["a text"]
_LOOK = {"window_s": "a number", "hop": _SIZE, "bands_hz": [["a number"]], "most_bins": _SIZE}
_DEPTH = "from 0 to 100"
_MODALITY = {
    **{"slots": _NAMES, "token_s": _SIZE, "rate_hz": _SIZE, "features": _SIZE, "looks": [_LOOK], "on_head": "a flag"},
    **{"voltage": ({"largest_uv": "a number", "hum_uv": "a number"}, None), "high_pass_hz": ("a number", None)},
    **{"margin_s": _SIZE, "flat_s": ("a number", None), "cut_share": "a number", "clip": "a number"},
    **{"largest_typical": ("a number", None), "limits": (["a number"], None), "normalised_by": (["a number"], None)},
}
_CONTACT = {
    **{name: "a number" for name in ("hum_ratio", "dropped_s", "still_share", "still_max_s", "rail_samples")},
    **{"harmonics": _DEPTH, "white_ratio": ["a number"], "white_s": _SIZE, "white_bands": [[_SIZE]]},
}
_COUNTING = {
    **{name: "a number" for name in ("whole_s", "separation_s", "margin_s", "lead_s")},
    **{"separated_from": "a text", "cut": "a flag", "disturbed_by": _NAMES},
}
_TASK = {
    **{"name": "a text", "kind": "a text", "events": [_NAMES], "needs": _NAMES, "rate_hz": _SIZE},
    **{"shortest_s": "a number", "longest_s": ("a number", None), "join_s": "a number"},
}
_MICRO = dict.fromkeys(("dim", "heads", "experts", "top_k", "mlp_ratio"), _SIZE)
_MACRO = dict.fromkeys(
    ("dim", "merge", "state", "head_dim", "pool_heads", "chunk", "seconds_dim", "fast_dim"), _SIZE
) | dict.fromkeys(("levels", "blocks_per_level", "seconds_depth"), _DEPTH)
_DESCRIPTION = {
    "model": {
        "micro": _MICRO | {"private_depth": _DEPTH, "shared_depth": _DEPTH},
        "macro": _MACRO | {"mixer": "a text", "bidirectional": "a flag"},
    },
    "tasks": [_TASK],
    "thresholds": {...: "a number"},
    "preprocessing": {
        **{name: "a number" for name in ("min_good_share", "iqr_of_normal", "percentile_samples", "mains_ratio")},
        **{"stages": _NAMES, "fast_hz": _SIZE, "modalities": {...: _MODALITY}, "notch_q": "a number"},
        **{"block_s": _SIZE, "survey_pieces": _SIZE, "survey_piece_s": _SIZE, "mains_hz": ["a number"]},
        **{"contact": _CONTACT, "sensors": {...: _NAMES}, "counting": {...: _COUNTING}},
    },
}
"""What every form reads of `config.json`: in words what a value is, `[of each]`, `{name: of it}` or `{...: of each}`,
and `(what, None)` where it may be null."""
_IS = {
    "a text": lambda v: isinstance(v, str) and len(v) < 1000,
    "a flag": lambda v: isinstance(v, bool),
    "a number": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e12,
    _SIZE: lambda v: type(v) is int and 1 <= v <= 65536,
    _DEPTH: lambda v: type(v) is int and 0 <= v <= 100,
}


DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What damage may raise in Python's, PyTorch's and NumPy's own parts; RecursionError is a RuntimeError."""


def seal(described: dict) -> str:
    """SHA-256 of what a description says besides its own seal: a change by hand is seen."""
    said = {name: value for name, value in described.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def refusing(path: Path, form: Form, *also: type[Exception]) -> Iterator[None]:
    """Whatever is wrong with a file becomes a ValueError of one line that names it; `also` besides `DAMAGE`."""
    try:
        if not path.is_file():
            raise ValueError("no such file")
        yield
    except (*DAMAGE, *also) as error:
        why = " ".join(str(error).split()) if isinstance(error, (ValueError, *also)) else repr(error)
        raise ValueError(f"{path}: {why:.300}; {form.again}") from error


def described_in(folder: Path, form: Form) -> dict:
    """`config.json` of a folder. Raises ValueError unless `form` can read it, as it was written."""
    config = folder / "config.json"
    with refusing(config, form):
        if config.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        described = json.loads(config.read_text(encoding="utf-8"), parse_constant=_no_number)
        check(described, form)
    return described


def check(described: dict, form: Form) -> None:
    """Raises ValueError unless it is a description that `form` can read, as it was written."""
    try:
        found, whole = (described["format"], described["version"]), described["sha256"] == seal(described)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"is damaged: {error!r}") from error
    if found != (form.name, form.version):
        raise ValueError(f"{found!r:.100}, expected {form.name} version {form.version}")
    if not whole:
        raise ValueError("config.json was changed after it was written")
    _check(described, _DESCRIPTION | form.says)


def _check(value: object, wanted: object, where: str = "") -> None:
    """Raises ValueError about the first value that is not what `_DESCRIPTION` wants."""
    if isinstance(wanted, tuple):
        return None if value is None else _check(value, wanted[0], where)
    if isinstance(wanted, str):
        if not _IS[wanted](value):
            raise ValueError(f"{where}: expected {wanted}, found {value!r:.40}")
        return None
    if not isinstance(value, type(wanted)):
        raise ValueError(f"{where}: expected {'a list' if isinstance(wanted, list) else 'an object'}")
    if isinstance(wanted, list):
        for place, item in enumerate(value):
            _check(item, wanted[0], f"{where}[{place}]")
        return None
    for name, of_it in wanted.items():
        if name is not ... and name not in value:
            raise ValueError(f"{where}.{name} is missing".lstrip("."))
        for key in value if name is ... else (name,):
            _check(value[key], of_it, f"{where}.{key!s:.40}".lstrip("."))
    return None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
