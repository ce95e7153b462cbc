"""The configuration as plain values and back, and changes of it by name.

Unknown names and wrong types are refused with the nearest name, because a misspelt option that is silently ignored
costs a training run.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.from_json import FieldError, from_json
from data_pipeline.nearest import suggestion
from sleepmami_jax.config.ranges import ConfigError


def to_dict(config: Any) -> Any:
    """Plain JSON types.

    >>> from sleepmami_jax.config import ModelConfig
    >>> to_dict(ModelConfig())["micro"]["dim"]
    64
    """
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_dict(v) for v in config]
    return config


def from_dict(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """The dataclass `cls` from plain values. Raises ConfigError on unknown or missing names, wrong values.

    >>> from sleepmami_jax.config import ModelConfig
    >>> from_dict(ModelConfig, {"micro": {"dim": 32}}).micro.dim
    32
    """
    try:
        return from_json(cls, values)
    except FieldError as error:
        raise ConfigError(error.problem, error.path, where or cls.__name__) from error


class _Some(dict):
    """Fields of a group to change, where a plain dictionary is all of it."""


def override(config: Any, assignments: Sequence[str]) -> Any:
    """`config` with all `a.b=c` assignments, the last of one name; values are JSON, or bare words for strings.

    They are made together: what only fits together may come in any order.

    >>> from sleepmami_jax.config import ModelConfig
    >>> override(ModelConfig(), ["micro.dim=128"]).micro.dim
    128
    """
    changes = _Some()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: expected name=value, such as optimizer.learning_rate=3e-4")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *groups, name = path.strip().split(".")
        group = changes
        for part in groups:
            group = group.setdefault(part, _Some())
            if not isinstance(group, dict):
                raise ConfigError(f"{path.strip()}: {part} has no fields of its own (it is {group!r})")
        group[name] = value
    try:
        return _changed(config, changes)
    except FieldError as error:
        raise ConfigError(error.problem, error.path) from error


def _changed(config: Any, changes: _Some) -> Any:
    known, fields = typing.get_type_hints(type(config)), {}
    for name, value in changes.items():
        if name not in known:
            raise FieldError(f"no such field{suggestion(name, known)}", (name,))
        child = getattr(config, name)
        if type(value) in (int, float) and known[name] in (str, str | None):
            value = str(value)
        try:
            if not isinstance(value, _Some):
                fields[name] = from_json(known[name], value)
            elif dataclasses.is_dataclass(child):
                fields[name] = _changed(child, value)
            else:
                raise FieldError(f"{name} has no fields of its own (it is {child!r})", tuple(value)[:1])
        except FieldError as error:
            raise error.below(name) from error
    return dataclasses.replace(config, **fields)
