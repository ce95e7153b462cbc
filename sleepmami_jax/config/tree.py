"""The configuration as plain values and back, and changes of it by name.

Unknown names and wrong types are refused with the nearest name, because a misspelt option that is silently ignored
costs a training run.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from data_pipeline.nearest import nearest
from sleepmami_jax.config.ranges import ConfigError, check, hints


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
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or cls.__name__}: expected a group of fields, found {values!r}")
    fields = {name: _field(cls, name, value, where) for name, value in values.items()}
    for f in dataclasses.fields(cls):
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where or cls.__name__}: {f.name} is missing")
    return cls(**fields)


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
    return _changed(config, changes, "")


def _changed(config: Any, changes: _Some, where: str) -> Any:
    fields = {}
    for name, value in changes.items():
        child = getattr(config, name, None)
        if isinstance(value, _Some) and dataclasses.is_dataclass(child):
            fields[name] = _changed(child, value, _path(where, name))
        elif isinstance(value, _Some) and name in hints(type(config)):
            path = _path(where, name, next(iter(value)))
            raise ConfigError(f"{path}: {name} has no fields of its own (it is {child!r})")
        else:
            fields[name] = _field(type(config), name, value, where)
    return dataclasses.replace(config, **fields)


def _path(*names: str) -> str:
    return ".".join(filter(None, names))


def _field(cls: type, name: str, value: Any, where: str) -> Any:
    """The plain `value` as what the field `name` of `cls` holds, or ConfigError."""
    known = hints(cls)
    if name not in known:
        near = nearest(name, known)
        meant = f"did you mean {_path(where, near)}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"{_path(where, name)}: no such field; {meant}")
    return _convert(known[name], value, _path(where, name))


def _convert(hint: Any, value: Any, path: str) -> Any:
    """What JSON cannot say as the type `hint` has it; then checked."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _convert(args[0], value, path)
    elif origin in (typing.Union, types.UnionType):
        if type(None) in args:
            return None if value is None else _convert(args[0], value, path)
        if str in args:  # a record, or its name
            value = from_dict(args[0], value, path) if isinstance(value, Mapping) else value
        elif not isinstance(value, args):
            raise ConfigError(f"{path}: set its fields one by one, such as {path}.batch=8")
    elif origin is tuple:
        if not isinstance(value, list | tuple):
            example = '[{"folder": "shards"}]' if dataclasses.is_dataclass(args[0]) else '["a", "b"]'
            raise ConfigError(f"{path}: expected a list such as {example}, found {value!r}")
        value = tuple(_convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    elif dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, path)
    elif isinstance(hint, enum.EnumMeta):
        if value not in list(hint):
            raise ConfigError(f"{path}: expected one of {', '.join(hint)}, found {value!r}")
        value = hint(value)
    elif hint is float and type(value) is int:
        value = float(value)
    elif hint is str and type(value) in (int, float):
        value = str(value)
    check(hint, value, path)
    return value
