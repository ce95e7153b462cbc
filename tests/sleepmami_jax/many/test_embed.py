"""Embeddings of a folder are made by one process at a time."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipeline.lock import alone_in
from sleepmami_jax.many.embed import embed_shards
from sleepmami_jax.run.progress import bars


def test_two_that_embed_into_one_folder_do_not_meet(prepared, tiny, tmp_path):
    shards = Path(prepared.shards[0].folder)
    model = SimpleNamespace(folder=SimpleNamespace(params={}, config=tiny), slots={}, encode=None)
    with alone_in(tmp_path / "out"), pytest.raises(ValueError, match="another run is working in this folder"):
        embed_shards(model, shards, tmp_path / "out", bars(quiet=True))
