"""Micro tokens and night vectors of a prepared folder."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import save_file

from data_pipeline.lock import alone_in
from data_pipeline.whole_files import whole_file
from sleepmami_jax.data.embeddings import embed_folder
from sleepmami_jax.data.frozen import compiled_summary, frozen_digest
from sleepmami_jax.data.source import PreparedFolder
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import Progress


def embed_shards(model: Pretrained, shards: Path, out: Path, progress: Progress) -> int:
    """Micro tokens and vectors of all nights of a prepared folder; returns how many there are.

    Leaves in `out` one `<night_id>.safetensors` a night (see `data.embeddings`) and `vectors.safetensors`, the vector
    (Dm,) float32 of every night under its id. Nights already embedded by the same weights are kept.

    Raises:
      ValueError: `out` holds other files, or the embeddings of another model, or another run works in it.
    """
    prepared = PreparedFolder.open(shards)
    nights = list(range(len(prepared.manifest.nights)))
    tick = progress(f"micro tokens of {shards.name}", len(nights))
    digest, summarise = frozen_digest(model.folder.params), compiled_summary(model.folder.config)
    with alone_in(out):
        embedded = embed_folder(prepared, out, model.encode, digest, model.slots, summarise, nights, tick)
        vectors = {prepared.manifest.nights[n].night_id: model.vector(*embedded.tokens(n)) for n in nights}
        with whole_file(out / "vectors.safetensors") as half:
            save_file(vectors, half)
    return len(nights)
