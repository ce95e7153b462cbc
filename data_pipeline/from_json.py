"""Dataclasses from JSON: the inverse of `dataclasses.asdict`, which believes nothing.

Each field is of its annotated type, or the error names it: str, int, float, bool, an enum, a dataclass, or a tuple, a
dict or `| None` of these. What a dataclass checks itself is left to it: a `Literal`, and whether a text names a record
(`Record | str`). Of several records JSON cannot say which it is, so one of those is taken as it is.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from math import inf, isfinite
from typing import Any

from data_pipeline.nearest import suggestion

_Reader = Callable[[Any], Any]
_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}
WORDS = _PLAIN | {float: "a number"}
"""Types in words."""


class FieldError(ValueError):
    """A value that is not of its field's type. `path` leads to the field, such as ("channels", 3, "iqr"), from `of`."""

    def __init__(self, problem: str, path: tuple[str | int, ...] = (), of: str = ""):
        where = of + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        super().__init__(f"{where.lstrip('.')}: {problem}" if where else problem)
        self.problem, self.path = problem, path

    def below(self, name: str | int) -> FieldError:
        """The same, seen from what holds the field."""
        return FieldError(self.problem, (name, *self.path))


def from_json(kind: Any, value: Any) -> Any:
    """A JSON value as a `kind`; a whole number may stand for a float.

    >>> from data_pipeline.night import Demographics
    >>> from_json(Demographics, {"age_years": 41, "sex": "F"})
    Demographics(age_years=41.0, sex='F', bmi=None)

    Raises:
      FieldError: a field is missing, unknown, or of another type; it is named, and for an unknown one the nearest.
      ValueError: what the dataclass itself raises.
    """
    return _reader(kind)(value)


@cache  # a manifest has millions of fields
def _reader(kind: Any) -> _Reader:
    """What turns a JSON value into a `kind`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(parts)
    if origin is typing.Literal:
        return lambda value: value
    if origin is tuple:
        return _tuple_reader(parts)
    if origin is dict and parts[0] is str:
        return _dict_reader(_reader(parts[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: _member(kind, value)
    if kind is float:
        return _float
    if kind in _PLAIN:
        return lambda value: _of_class(value, _PLAIN[kind], kind)
    raise TypeError(f"{kind}: no type that JSON is read as")


def _dataclass_reader(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    # A value of the very class that is asked for needs no reader, which is most of them.
    readers = [(name, hint if hint in _PLAIN else None, _reader(hint)) for name, hint in hints.items()]
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}

    def read(value: Any) -> Any:
        if value.__class__ is kind:
            return value
        _of_class(value, "a group of fields", dict)
        if not required <= value.keys() <= hints.keys():
            for name in value.keys() - hints.keys():
                raise FieldError(f"no such field{suggestion(name, hints)}", (name,))
            raise FieldError("is missing", (min(required - value.keys()),))
        fields = {}
        try:
            for name, plain, read_field in readers:
                if name in value:
                    item = value[name]
                    fields[name] = item if item.__class__ is plain else read_field(item)
        except FieldError as error:
            raise error.below(name) from error
        return kind(**fields)

    return read


def _union_reader(parts: tuple[Any, ...]) -> _Reader:
    """Of `x | None`, of `Record | str` or `tuple | str`, or of several records."""
    read_first = _reader(parts[0])
    if parts[1:] == (type(None),):
        return lambda value: None if value is None else read_first(value)
    if parts[1:] == (str,):
        return lambda value: read_first(value) if value.__class__ in (dict, list) else value

    def read(value: Any) -> Any:
        if not isinstance(value, parts):
            raise FieldError(f"set its fields one by one, such as {dataclasses.fields(parts[0])[0].name}")
        return value

    return read


def _dict_reader(read_item: _Reader) -> _Reader:
    def read(value: Any) -> dict[str, Any]:
        items = {}
        for name, item in _of_class(value, "an object", dict).items():
            try:
                items[name] = read_item(item)
            except FieldError as error:
                raise error.below(name) from error
        return items

    return read


def _tuple_reader(parts: tuple[Any, ...]) -> _Reader:
    """Of `tuple[x, ...]` or of `tuple[x, x]`."""
    length = None if parts[-1] is ... else len(parts)
    (kind,) = set(parts) - {...}
    plain, read_item = {kind} & _PLAIN.keys(), _reader(kind)
    example = f'{{"{dataclasses.fields(kind)[0].name}": …}}' if dataclasses.is_dataclass(kind) else '"a", "b"'
    words = "a list" if plain - {str} else f"a list such as [{example}]"

    def read(value: Any) -> tuple[Any, ...]:
        _of_class(value, words, list, tuple)
        if length not in (None, len(value)):
            raise FieldError(f"expected {length} items, found {len(value)}")
        if plain.issuperset(map(type, value)):
            return tuple(value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(read_item(item))
        except FieldError as error:
            raise error.below(len(items)) from error
        return tuple(items)

    return read


def _member(kind: type[Enum], value: Any) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        names = [str(member.value) for member in kind]
        raise FieldError(f"{_short(value)} is not known{suggestion(str(value), names)}") from error


def _float(value: Any) -> float:
    if value.__class__ is float and isfinite(value):
        return value
    try:
        number = float(_of_class(value, "a number", float, int))
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise FieldError(f"expected a finite number, found {_short(value)}")
    return number


def _of_class(value: Any, words: str, *kinds: type) -> Any:
    if value.__class__ not in kinds:
        raise FieldError(f"expected {words}, found {_short(value)}")
    return value


def _short(value: Any) -> str:
    return repr(value)[:60]
