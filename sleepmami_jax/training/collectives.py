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
_INSTRUCTION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")


@dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
      kind: of `KINDS`.
      result: bytes of the largest array it gives on one chip.
      group: chips that take part.
      times: how often a step runs it.
    """

    kind: str
    result: int
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


def collectives(program: str, devices: int) -> list[Collective]:
    """The collectives of a compiled program's text (`compiled.as_text()`).

    A loop counts as often as it runs, where the compiler knows it, and otherwise once.

    Args:
      devices: of the mesh; all of them take part in an operation that names no groups.
    """
    found, called, entry = _read(program, devices)
    times = _times(called, entry)
    return [
        Collective(kind, size, group, times[computation])
        for computation, kind, size, group in found
        if group > 1 and times[computation]
    ]


def _read(program: str, devices: int):
    """Collectives as (computation, kind, bytes, group); what each computation calls and how often; the entry."""
    found, called, entry, name = [], defaultdict(list), "", ""
    for line in program.splitlines():
        if match := _COMPUTATION.match(line):
            name = match[2]
            entry = name if match[1] else entry
            continue
        trips = int(match[1]) if (match := _TRIPS.search(line)) else 1
        for one, several in _CALLED.findall(line):
            for other in [one] if one else [part.strip().lstrip("%") for part in several.split(",")]:
                called[name].append((other, trips))
        if match := _INSTRUCTION.search(line):
            sizes = [
                _BYTES.get(dtype, 4) * int(np.prod([int(d) for d in dims.split(",") if d]))
                for dtype, dims in _SHAPE.findall(match[1])
            ]
            found.append((name, match[2], max(sizes, default=0), _group(line, devices)))
    return found, called, entry


def _group(line: str, devices: int) -> int:
    match = _GROUPS.search(line)
    if match is None:
        return devices
    return int(match[2]) if match[2] else len(match[3].split(",")) if match[3] else devices


def _times(called, entry: str) -> dict[str, int]:
    """How often each computation runs; the calls have no cycles."""
    times: dict[str, int] = defaultdict(int)
    waiting = [(entry, 1)]
    while waiting:
        name, runs = waiting.pop()
        times[name] += runs
        waiting += [(other, runs * trips) for other, trips in called[name]]
    return times
