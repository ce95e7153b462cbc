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
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple

from data_pipeline.from_json import WORDS, FieldError
from data_pipeline.nearest import nearest
from data_pipeline.night import EPOCH_S


class ConfigError(FieldError):
    """A configuration that cannot be used; the message names the field and says what was expected."""


class Range(NamedTuple):
    """What a value must be, in words ("expected …"), and whether it is."""

    words: str
    holds: Callable[[Any], bool]


def _from(low: int) -> Range:
    return Range(f"at least {low}", lambda v: v >= low)


Natural = Annotated[int, _from(0)]
Count = Annotated[int, _from(1)]
Size = Annotated[int, Range(f"from 1 to {2**16}", lambda v: 1 <= v <= 2**16)]  # of an axis of a model's arrays
Width = Annotated[int, Range(f"from 2 to {2**16}", lambda v: 2 <= v <= 2**16)]  # half is samples, half power
Chunk = Annotated[int, Range("from 1 to 4096", lambda v: 1 <= v <= 4096)]  # its square is held in memory
Depth = Annotated[int, Range("from 0 to 100", lambda v: 0 <= v <= 100)]
MultipleOf16 = Annotated[int, Range("a multiple of 16", lambda v: v > 0 and v % 16 == 0)]
Seed = Annotated[int, Range("from 0 to 2**31 - 1", lambda v: 0 <= v < 2**31)]
TokenSeconds = Annotated[int, Range(f"a divisor of {EPOCH_S}", lambda v: v > 0 and EPOCH_S % v == 0)]
Weight = Annotated[float, _from(0)]
Positive = Annotated[float, Range("more than 0", lambda v: v > 0)]
Chance = Annotated[float, Range("from 0 to 1", lambda v: 0 <= v <= 1)]
BelowOne = Annotated[float, Range("at least 0 and less than 1", lambda v: 0 <= v < 1)]
Share = Annotated[float, Range("more than 0 and at most 1", lambda v: 0 < v <= 1)]
WithinEpoch = Annotated[float, Range(f"more than 0 and at most {EPOCH_S}", lambda v: 0 < v <= EPOCH_S)]
Text = Annotated[str, Range("a word", lambda v: bool(v.strip()))]
Texts = Annotated[tuple[Text, ...], Range("one or more, none twice", lambda v: len({*v}) == len(v) > 0)]


class Checked:
    """A dataclass of which every field is what its annotation says, or it is refused when it is made.

    Which values go together is said in a `__post_init__` of its own, after that of this class.
    """

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            check(hint, getattr(self, name), type(self).__name__, name)

    def expect(self, holds: bool, name: str, words: str) -> None:
        """Raises ConfigError about the field `name` (or `group.name`) unless `holds`."""
        if not holds:
            raise self.error(name, f"expected {words}, found {attrgetter(name)(self)!r}")

    def error(self, name: str, problem: str) -> ConfigError:
        """That something is wrong with the field `name` (or `group.name`)."""
        return ConfigError(problem, tuple(name.split(".")), type(self).__name__)


@cache
def hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, ranges included."""
    return typing.get_type_hints(cls, include_extras=True)


def check(hint: Any, value: Any, of: str, *path: str | int) -> None:
    """Raises ConfigError unless the value, at `path` in `of`, is of the type and in the range of `hint`."""

    def expect(holds: bool, words: str) -> None:
        if not holds:
            raise ConfigError(f"expected {words}, found {value!r}", path, of)

    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        check(args[0], value, of, *path)
        for allowed in args[1:]:
            expect(allowed.holds(value), allowed.words)
    elif origin is Literal:
        if value not in args:
            near = nearest(str(value), args)
            meant = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"expected {' or '.join(map(repr, args))}, found {value!r}{meant}", path, of)
    elif origin in (typing.Union, types.UnionType):
        if any(map(dataclasses.is_dataclass, args)):
            expect(isinstance(value, args), " or ".join("None" if arg is NoneType else arg.__name__ for arg in args))
        elif value is not None:
            check(args[0], value, of, *path)
    elif origin is tuple:
        expect(isinstance(value, tuple), "a tuple")
        for i, part in enumerate(value):
            check(args[0], part, of, *path, i)
    else:
        right = isinstance(value, (int, float) if hint is float else hint)
        expect(right and (hint is bool or not isinstance(value, bool)), WORDS.get(hint, hint.__name__))
        expect(hint is not float or math.isfinite(value), "a finite number")
