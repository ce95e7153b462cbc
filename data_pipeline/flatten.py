"""A tree of settings or results as one level of names."""

from collections.abc import Mapping
from typing import Any


def flatten(tree: Mapping[Any, Any], separator: str = ".", *, lists: bool = False) -> dict[str, Any]:
    """The leaves of a tree under the path to each; with `lists`, items of lists are leaves under their place.

    >>> flatten({"model": {"dim": 8, "levels": [2, 3]}})
    {'model.dim': 8, 'model.levels': [2, 3]}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if lists and isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, Mapping) and value:
            below = flatten(value, separator, lists=lists)
            flat |= {f"{name}{separator}{path}": leaf for path, leaf in below.items()}
        else:
            flat[str(name)] = value
    return flat
