"""Nights as micro tokens on disk."""

import os
import threading
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from sleepmami_jax.data import embeddings
from sleepmami_jax.data.embeddings import INDEX, batch_of_one, embed_folder, encode_blocks


def test_blocks_are_encoded_side_by_side_and_come_in_their_order(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both, read = threading.Barrier(2, timeout=20), []

    def blocks():
        for i in range(6):
            read.append(i)
            yield i

    def encode(block):
        both.wait()  # until another one is being encoded too
        time.sleep(0.02 * (block % 2 == 0))
        return block

    found = []
    for block in encode_blocks(encode, blocks()):
        found.append(block)
        assert len(read) <= block + 4  # two at work, one that waits, one more in hand
    assert found == list(range(6))

    def fails(block):
        raise ValueError(f"block {block}")

    with pytest.raises(ValueError, match="block 0"):
        list(encode_blocks(fails, blocks()))


def embed(out, monkeypatch, weights="w", records="r"):
    """Embeds a night of 20 epochs, whose tokens are ones; the blocks that had to be encoded."""
    encoded = []
    entry = SimpleNamespace(night_id="n1", n_epochs=20, records_sha256=records)
    prepared = SimpleNamespace(manifest=SimpleNamespace(nights=[entry]))
    monkeypatch.setattr(embeddings, "night_blocks", lambda *_: [{}, {}])

    def encode(block):
        encoded.append(block)
        return np.ones((16, 3, 4), np.float16), np.ones((16, 3), bool)

    def summarise(tokens, ok):
        return np.zeros((16, 2, 5)), ok[:, :2]

    folder = embed_folder(prepared, out, encode, weights, {}, summarise, [0])
    np.testing.assert_array_equal(folder.tokens(0)[0], np.ones((20, 3, 4)))
    return len(encoded)


def test_what_is_damaged_or_of_other_records_is_embedded_again(tmp_path, monkeypatch):
    path = tmp_path / "n1.safetensors"
    assert embed(tmp_path, monkeypatch) == 2 and embed(tmp_path, monkeypatch) == 0
    whole = path.read_bytes()
    flipped = whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:]
    for content in (flipped, whole[:-1], b"", b"junk", whole.replace(b"made_of", b"made_on")):
        path.write_bytes(content)
        assert embed(tmp_path, monkeypatch) == 2
        assert path.read_bytes() == whole
    assert embed(tmp_path, monkeypatch, records="others") == 2
    with pytest.raises(ValueError, match="embeddings of other weights"):
        embed(tmp_path, monkeypatch, weights="others", records="others")
    (tmp_path / INDEX).write_text('{"weights_')
    assert embed(tmp_path, monkeypatch, records="others") == 0  # each file says what it was made with
    (tmp_path / INDEX).write_text("[]")
    assert embed(tmp_path, monkeypatch, weights="others", records="others") == 2


def test_a_file_that_is_damaged_while_it_is_used_is_named(tmp_path, monkeypatch):
    embed(tmp_path, monkeypatch)
    (tmp_path / "n1.safetensors").write_bytes(b"junk")
    entry = SimpleNamespace(night_id="n1", n_epochs=20)
    folder = embeddings.EmbeddedFolder(tmp_path, SimpleNamespace(manifest=SimpleNamespace(nights=[entry])))
    with pytest.raises(ValueError, match=r"n1\.safetensors: damaged"):
        folder.tokens(0)


def test_a_night_becomes_a_batch_of_one_that_jax_takes_as_it_lies():
    rng = np.random.default_rng(0)
    tokens, ok = rng.standard_normal((241, 3, 5)).astype(np.float16), rng.random((241, 3)) > 0.5
    x, there = batch_of_one(tokens, ok)
    assert x.shape == (1, 480, 3, 5) and x.dtype == np.float32 and there.shape == (1, 480, 3)
    np.testing.assert_array_equal(x[0, :241], tokens.astype(np.float32))
    np.testing.assert_array_equal(there[0, :241], ok)
    assert not x[0, 241:].any() and not there[0, 241:].any()
    assert jax.device_put(x).unsafe_buffer_pointer() == x.ctypes.data  # a copy of a long night would be 0.4 GB
