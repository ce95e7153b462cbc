"""What a compiled step moves between chips, read from XLA's program."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(condition|body|calls|to_apply)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONSTANT = re.compile(r"%?([\w.\-]+) = s32\[\][^ ]* constant\((\d+)\)")
_BELOW = re.compile(r"ROOT .* compare\(.*?, .*?%?([\w.\-]+)\), direction=LT")
_CHAIN = re.compile(r'chain_id="(\d+)"')
_GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")


@dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
      kind: of `KINDS`.
      result: bytes of all arrays that it gives on one chip; compilers combine small operations.
      largest: of them.
      group: chips that take part.
      times: how often a step runs it.
    """

    kind: str
    result: int
    largest: int
    group: int
    times: int

    @property
    def sent(self) -> float:
        """Bytes that each chip sends in a step, by the usual ring algorithms."""
        n = self.group
        share = {
            "all-gather": (n - 1) / n,
            "all-reduce": 2 * (n - 1) / n,
            "reduce-scatter": n - 1,  # its result is one part of what went in
            "all-to-all": (n - 1) / n,
            "collective-permute": 1.0,
        }
        return self.times * self.result * share[self.kind]

    @property
    def given(self) -> float:
        """Bytes that each chip puts into it in a step, however many others there are."""
        own = {"all-gather": 1 / self.group, "reduce-scatter": self.group}
        return self.times * self.result * own.get(self.kind, 1)


def collectives(program: str, devices: int) -> list[Collective]:
    """The collectives of a compiled program's text (`compiled.as_text()`).

    A loop counts as often as it runs: by what the compiler noted, or by the constant that its counter is compared
    with; a loop that has neither counts once.

    Args:
      devices: of the mesh; all of them take part in an operation that names no groups.
    """
    operations, calls, bounds, chains, entry = [], defaultdict(list), {}, set(), ""
    name, constants = "", {}
    for line in program.splitlines():
        if match := _COMPUTATION.match(line):
            name, constants = match[2], {}
            entry = name if match[1] else entry
            continue
        if match := _CONSTANT.search(line):
            constants[match[1]] = int(match[2])
        if match := _BELOW.search(line):
            bounds[name] = constants.get(match[1], 1)
        calls[name] += _called(line)
        if (chain := _CHAIN.search(line)) and chain[1] in chains:
            continue  # an operation that goes on beside others is written down with each of them
        if match := _INSTRUCTION.search(line):
            chains |= {chain[1]} if chain else set()
            sizes = _sizes(match[1], asynchronous=match[3] is not None and match[2] != "all-reduce")
            if (group := _group(line, devices)) > 1:
                operations.append((name, (match[2], sum(sizes), max(sizes, default=0), group)))
    times = _times(calls, bounds, entry)
    return [Collective(*what, times[where]) for where, what in operations if times[where]]


def _sizes(result: str, asynchronous: bool) -> list[int]:
    """Bytes of the arrays of a result. The start of an asynchronous operation gives its operands too, and first."""
    arrays = [(dtype, dims) for dtype, dims in _SHAPE.findall(result) if (dtype, dims) != ("u32", "")]
    if asynchronous:
        arrays = arrays[len(arrays) // 2 :]
    return [_BYTES.get(dtype, 4) * int(np.prod([int(d) for d in dims.split(",") if d])) for dtype, dims in arrays]


def _group(line: str, devices: int) -> int:
    match = _GROUPS.search(line)
    if match is None:
        return devices
    return int(match[2]) if match[2] else len(match[3].split(",")) if match[3] else devices


def _called(line: str) -> list[tuple[str, int | str]]:
    """Computations that an instruction calls, and how often: a number, or the name of the loop's condition."""
    calls = _CALLED.findall(line)
    trips: int | str = next((name for what, name, _ in calls if what == "condition"), 1)
    if match := _TRIPS.search(line):
        trips = int(match[1])
    branches = [part.strip().lstrip("%") for *_, several in calls if several for part in several.split(",")]
    return [(name, trips) for _, name, _ in calls if name] + [(name, 1) for name in branches]


def _times(calls, bounds: dict[str, int], entry: str) -> dict[str, int]:
    """How often each computation runs; the calls have no cycles."""
    times: dict[str, int] = defaultdict(int)
    waiting = [(entry, 1)]
    while waiting:
        name, runs = waiting.pop()
        times[name] += runs
        waiting += [(other, runs * (bounds.get(n, 1) if isinstance(n, str) else n)) for other, n in calls[name]]
    return times
