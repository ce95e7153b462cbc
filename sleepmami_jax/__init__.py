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
    from sleepmami_jax.pretrained import Pretrained

__version__ = "0.1.0"


def load(path="bundled") -> Pretrained:
    """A model folder, or the model that comes with the package; see `sleepmami_jax.pretrained.Pretrained`.

    >>> load("demo/model").card["trained_on"]
    'nothing: its parameters are random'
    """
    from sleepmami_jax.pretrained import load

    return load(path)


def score(recording, model="bundled", out=None, montage=None):
    """Score one recording with the model folder `model`; see `Pretrained.score`."""
    return load(model).score(recording, out=out, montage=montage)


def embed(recording, model="bundled"):
    """Micro tokens, their mask and the night's vector of one recording; see `Pretrained.embed`."""
    return load(model).embed(recording)
