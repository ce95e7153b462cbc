"""A prepared folder and the caches beside it, to be spoiled: each is taken as it was, made anew, or refused."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from data_pipeline.modalities import SLOTS
from data_pipeline.prepare.journal import read_known
from data_pipeline.prepare.run import prepare
from data_pipeline.shards.manifest import MANIFEST
from sleepmami_jax.data import source
from sleepmami_jax.data.embeddings import INDEX, EmbeddedFolder, embed_folder
from sleepmami_jax.data.source import PreparedFolder
from tests.support.nights import load_random_night, write_recordings

NIGHT = "n1"
SOURCES = b'{"night_id":"n1","seen":[{"size":9,"modified_ns":8,"changed_ns":7,"sha256":"00"}]}\n' * 2


@cache
def files() -> dict[str, bytes]:
    """The manifest, the shard and the embeddings of one night of five epochs, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        prepare([write_recordings(Path(scratch) / "in", [1])], out, load=load_random_night)
        _embedded(out)
        names = (MANIFEST, f"{NIGHT}.array_record", f"{NIGHT}.safetensors", INDEX)
        return {path.name: path.read_bytes() for path in out.rglob("*") if path.name in names}


def perhaps_sealed(data: bytes, rng: random.Random) -> bytes:
    """A manifest that was changed, half of the time by a maker who knows of its checksum."""
    first, _, rest = data.partition(b"\n")
    try:
        header = json.loads(first)
        if rng.random() < 0.5 and "nights_sha256" in header:
            header["nights_sha256"] = hashlib.sha256(rest).hexdigest()
            return json.dumps(header).encode() + b"\n" + rest
    except (ValueError, TypeError, RecursionError):
        pass
    return data


def read_shards(folder: Path, *, sealed: bool) -> None:
    """Reads all of the night as training would.

    Args:
      sealed: whether its maker may have changed the manifest, so that it need not be what it was.
    Raises:
      AssertionError: what came is not what was prepared, or no numbers.
      ValueError: refused.
    """
    source._readers().cache_clear()
    if not PreparedFolder.open(folder).manifest.nights:
        assert sealed, "read, and its night is gone"
        return
    arrays, expected = _arrays(folder), _expected()
    assert all(np.isfinite(value).all() for value in arrays.values())
    same = arrays.keys() == expected.keys() and all(np.array_equal(v, expected[k]) for k, v in arrays.items())
    assert sealed or same, "read, and it is not what was prepared"


def read_embeddings(folder: Path) -> None:
    """Embeds the night where it is not embedded already. Raises AssertionError and ValueError as `read_shards`."""
    source._readers().cache_clear()
    tokens, ok = _embedded(folder).tokens(0)
    assert (tokens == 1).all() and ok.all() and tokens.shape == (5, 2, 3), "kept, and they are others"


def read_journal(folder: Path) -> None:
    """What `prepare` knows of finished nights. It takes nothing damaged, and refuses nothing."""
    read_known(folder, "0")


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    prepared = PreparedFolder.open(folder)
    night = prepared.arrays(0)
    arrays = {f"{m}/{name}": value for m in SLOTS for name, value in night[m].items()}
    return arrays | {"stage": night["stage"], "events": np.array([e.onset_s for e in prepared.events(0)])}


@cache
def _expected() -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files().items():
            (Path(scratch) / name).write_bytes(content)
        return _arrays(Path(scratch))


def _embedded(folder: Path) -> EmbeddedFolder:
    def encode(block):
        return np.ones((16, 2, 3), np.float16), np.ones((16, 2), bool)

    def summarise(tokens, ok):
        return tokens, ok

    out = folder / "embedded"
    out.mkdir(exist_ok=True)
    for name in (INDEX, f"{NIGHT}.safetensors"):  # the campaign writes all into one folder
        if (folder / name).is_file():
            (folder / name).replace(out / name)
    return embed_folder(PreparedFolder.open(folder), out, encode, "weights", SLOTS, summarise, [0])
