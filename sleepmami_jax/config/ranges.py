"""What a field of the configuration may be, said once beside it, and checked whenever one is made.

batch: Count = 32
schedule: Literal["cosine", "wsd"] = "cosine"
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from data_pipeline.nearest import nearest


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field and says what was expected."""


class Range(NamedTuple):
    """What a value must be, in words ("expected …"), and whether it is."""

    words: str
    holds: Callable[[Any], bool]


class Checked:
    """A dataclass of which every field is what its annotation says, or it is refused when it is made.

    Which values go together is said in a `__post_init__` of its own, after that of this class.
    """

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            check(hint, getattr(self, name), f"{type(self).__name__}.{name}")

    def expect(self, holds: bool, name: str, words: str) -> None:
        """Raises ConfigError about the field `name` (or `group.name`) unless `holds`."""
        if not holds:
            value = self
            for part in name.split("."):
                value = getattr(value, part)
            raise ConfigError(f"{type(self).__name__}.{name}: expected {words}, found {value!r}")


@cache
def hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, ranges included."""
    return typing.get_type_hints(cls, include_extras=True)


def check(hint: Any, value: Any, where: str) -> None:
    """Raises ConfigError, which begins with `where`, unless `value` is of the type and in the range of `hint`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        check(args[0], value, where)
        for allowed in args[1:]:
            if not allowed.holds(value):
                raise ConfigError(f"{where}: expected {allowed.words}, found {value!r}")
    elif origin is Literal:
        if value not in args:
            near = nearest(str(value), args)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"{where}: expected {' or '.join(map(repr, args))}, found {value!r}{hint}")
    elif origin in (typing.Union, types.UnionType):
        if not any(dataclasses.is_dataclass(a) for a in args):  # a value, or None
            if value is not None:
                check(args[0], value, where)
        elif not isinstance(value, args):
            raise ConfigError(f"{where}: expected {' or '.join(a.__name__ for a in args)}, found {value!r}")
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise ConfigError(f"{where}: expected a tuple, found {value!r}")
        for i, part in enumerate(value):
            check(args[0], part, f"{where}[{i}]")
    elif not isinstance(value, (int, float) if hint is float else hint) or (
        isinstance(value, bool) and hint is not bool
    ):
        raise ConfigError(f"{where}: expected {hint.__name__}, found {value!r}")
    elif hint is float and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, found {value!r}")
