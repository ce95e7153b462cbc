"""sleepmami-jax: one model of both scales of sleep.

>>> import sleepmami_jax
>>> model = sleepmami_jax.load("demo/model")             # load(): the model that comes with the package
>>> scores = model.score("night.edf", out="night")       # report.html, stages.csv, events.csv, ...
>>> tokens, ok, vector = model.embed("night.edf")

Importing it neither imports JAX nor starts an accelerator; `load` does. Research use only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from data_pipeline.load import Given
    from data_pipeline.night import Night
    from sleepmami_jax.pretrained import Pretrained
    from sleepmami_jax.scoring.prediction import Scores

__all__ = ["embed", "load", "score"]
__version__ = "0.1.0"


def load(path: Path | str = "bundled") -> Pretrained:
    """A model folder, or the model that comes with the package; see `sleepmami_jax.pretrained.Pretrained`.

    >>> load("demo/model").card["trained_on"]
    'nothing: its parameters are random'

    Args:
      path: a folder, `owner/name` or `owner/name@revision` on the Hugging Face hub, or "bundled".

    Raises:
      ModelFolderError: there is none, or it was damaged or changed by hand.
    """
    from sleepmami_jax.pretrained import load

    return load(path)


def score(
    recording: Given | Night,
    model: Path | str = "bundled",
    out: Path | str | None = None,
    montage: Path | str | None = None,
) -> Scores:
    """Score one recording with the model folder `model`; see `Pretrained.score`."""
    return load(model).score(recording, out=out, montage=montage)


def embed(recording: Given | Night, model: Path | str = "bundled") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Micro tokens, their mask and the night's vector of one recording; see `Pretrained.embed`."""
    return load(model).embed(recording)
