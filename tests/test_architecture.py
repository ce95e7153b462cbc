"""The house as it is built: which room imports which, and how large its files and functions are.

A room is a folder or a loose file right under `data_pipeline` or `sleepmami_jax`; docs/architecture.md says what is in
each. An import inside a function or for the type checker counts as one at the top of a file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("data_pipeline", "sleepmami_jax")  # from the ground up
ABOVE = ("experiments", "benchmarks", "tests")  # not installed
LONGEST_FUNCTION, LONGEST_FILE = 80, 350

ARROWS = {}
"""What each room imports of the house. A room stands below all that it imports, so there can be no circle."""


@cache
def sources(*packages: str) -> dict[str, Path]:
    """Module -> file."""
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[: 2 if module.startswith(HOUSE) else 1])


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of all that a file imports of this repository."""
    modules = sources(*HOUSE, *ABOVE)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports here are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in whole]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.partition(".")[0] in (*HOUSE, *ABOVE))


@cache
def arrows() -> dict[str, dict[str, list[str]]]:
    """Room -> room that it imports -> where it does."""
    result = {}
    for module, path in sources(*HOUSE).items():
        made = result.setdefault(room_of(module), {})
        for target, line in imports(path):
            if room_of(target) != room_of(module):
                where = f"{path.relative_to(ROOT)}:{line} imports {target}"
                made.setdefault(room_of(target), []).append(where)
    return result


def where(made: dict[str, list[str]], rooms) -> str:
    return "\n".join(line for room in sorted(rooms) for line in made[room])


def test_every_room_is_listed():
    assert sorted(arrows()) == sorted(ARROWS)


@pytest.mark.parametrize("room", ARROWS)
def test_the_arrows_of_a_room(room):
    made, listed = arrows()[room], set(ARROWS[room])
    assert made.keys() <= listed, f"not listed for {room}:\n{where(made, made.keys() - listed)}"
    assert listed <= made.keys(), f"listed for {room}, but nothing makes it: {sorted(listed - made.keys())}"


def test_no_arrow_goes_up_and_none_round_in_a_circle():
    order = list(ARROWS)
    for n, room in enumerate(order):
        upward = arrows()[room].keys() - set(order[:n])
        assert not upward, f"{room} stands below what it imports:\n{where(arrows()[room], upward)}"
    assert order == sorted(order, key=lambda room: HOUSE.index(room.partition(".")[0]))


def test_the_model_knows_neither_tasks_nor_losses_nor_scores():
    above = {f"sleepmami_jax.{room}" for room in ("tasks", "objectives", "scoring")}
    made = arrows()["sleepmami_jax.models"]
    assert not above & made.keys(), where(made, above & made.keys())


def test_what_is_not_installed_imports_no_tests():
    for module, path in sources("experiments", "benchmarks").items():
        package = module.partition(".")[0]
        for target, line in imports(path):
            assert target.partition(".")[0] in (*HOUSE, package), f"{path}:{line} imports {target}"


def test_the_plan_shows_every_room():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ARROWS:
        package, _, name = room.partition(".")
        folder = (ROOT / package / name).is_dir()
        assert f"\n  {name + ('/' if folder else '.py')} " in plan or not name, f"{room} is not in the tree"


@pytest.mark.parametrize("path", sources(*HOUSE).values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_idea(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= LONGEST_FILE, f"{path.relative_to(ROOT)} has {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path.relative_to(ROOT)}: {node.name} has {length} lines"
