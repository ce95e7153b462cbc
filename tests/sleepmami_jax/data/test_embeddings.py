"""Nights as micro tokens on disk."""

import os
import threading
import time

import pytest

from sleepmami_jax.data.embeddings import encode_blocks


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
