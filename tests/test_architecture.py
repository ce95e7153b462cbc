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
SHIPPED = ROOT / "sleepmami_jax" / "twin" / "files"
"""Each of these is copied to people who have nothing else of ours: one file to read is worth more than short ones."""

# Room: the rooms that it imports. A room stands below all of these, so there can be no circle.
GROUND = {
    "__init__": "",
    "flatten": "",
    "nearest": "",
    "from_json": "nearest",
    "lock": "",
    "processes": "",
    "runs": "",
    "whole_files": "",
    "modalities": "",
    "night": "runs modalities",
    "tasks": "modalities night",
    "readers": "runs night",
    "annotations": "night readers",
    "shards": "from_json runs whole_files modalities night",
    "montage": "nearest modalities night readers shards",
    "signals": "runs modalities night readers montage",
    "load": "modalities night readers annotations montage signals",
    "diagnose": "whole_files modalities night tasks readers montage signals load",
    "cohorts": "night readers annotations shards",
    "simulate": "lock processes whole_files modalities night",
    "population": "from_json modalities night tasks shards",
    "prepare": (
        "__init__ from_json lock processes whole_files modalities night readers shards montage load cohorts population"
    ),
}
# Room: the rooms of its own package that it imports, and those of data_pipeline.
UPPER = {
    "config": ("", "from_json nearest modalities night tasks shards"),
    "models": ("config", "modalities night tasks"),
    "objectives": ("config models", "modalities"),
    "run": ("config", "flatten lock whole_files"),
    "trust": ("", "modalities night tasks population"),
    "export": ("config models run trust", "from_json whole_files modalities tasks population"),
    "data": ("config models run export trust", "lock processes whole_files modalities night tasks shards prepare"),
    "costs": ("config models objectives", "modalities night tasks"),
    "tasks": ("objectives", "runs modalities night tasks"),
    "metrics": ("tasks", "runs night tasks"),
    "twin": (
        "config export models data tasks",
        "whole_files modalities night tasks signals shards load simulate",
    ),
    "hub": ("export twin", ""),
    "scoring": ("tasks metrics trust", "annotations flatten runs whole_files modalities night tasks population"),
    "pretrained": (
        "config models export data hub trust scoring",
        "modalities night tasks annotations shards montage load population",
    ),
    "__init__": ("pretrained scoring", "night load"),
    "many": (
        "run data tasks pretrained scoring",
        "flatten from_json lock whole_files night tasks readers shards montage load cohorts prepare",
    ),
    "evaluation": (
        "config models run export data tasks metrics trust scoring pretrained",
        "nearest modalities night tasks annotations cohorts population shards",
    ),
    "training": (
        "config models objectives run export data costs tasks hub pretrained evaluation",
        "nearest night tasks annotations shards population",
    ),
    "sweep": ("config __init__ training", "__init__ flatten nearest lock whole_files prepare"),
    "recipes": ("config run export __init__ evaluation training", "lock night shards simulate prepare whole_files"),
    "commands": (
        "config run export data costs twin hub pretrained __init__ many evaluation training sweep recipes",
        "whole_files night shards montage load diagnose simulate population prepare",
    ),
    "cli": ("commands run", "night"),
}
ARROWS = {f"data_pipeline/{room}": {f"data_pipeline/{r}" for r in named.split()} for room, named in GROUND.items()}
ARROWS |= {
    f"sleepmami_jax/{room}": {f"sleepmami_jax/{r}" for r in own.split()} | {f"data_pipeline/{r}" for r in below.split()}
    for room, (own, below) in UPPER.items()
}


@cache
def sources(*packages: str) -> dict[str, Path]:
    """Module -> file."""
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def room_of(module: str) -> str:
    """The room of a module, such as "sleepmami_jax/data"; that of the package itself is "sleepmami_jax/__init__"."""
    package, *rest = module.split(".")
    return f"{package}/{rest[0] if rest else '__init__'}" if package in HOUSE else package


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of all that a file imports of this repository."""
    modules = sources(*HOUSE, *ABOVE)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # Experiments import their neighbours by a dot, so that copied ones find each other.
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            origin = ".".join([*above, *filter(None, [node.module])])
            whole = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name in modules else origin for name in whole]
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
                made.setdefault(room_of(target), []).append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    return result


def where(made: dict[str, list[str]], rooms) -> str:
    return "\n".join(line for room in sorted(rooms) for line in made[room])


def test_every_room_is_listed():
    assert sorted(arrows()) == sorted(ARROWS)


@pytest.mark.parametrize("room", ARROWS)
def test_the_arrows_of_a_room(room):
    made, listed = arrows()[room], ARROWS[room]
    assert made.keys() <= listed, f"not listed for {room}:\n{where(made, made.keys() - listed)}"
    assert listed <= made.keys(), f"listed for {room}, but nothing makes it: {sorted(listed - made.keys())}"


def test_no_arrow_goes_up_and_none_round_in_a_circle():
    order = list(ARROWS)
    for n, room in enumerate(order):
        upward = arrows()[room].keys() - set(order[:n])
        assert not upward, f"{room} stands below what it imports:\n{where(arrows()[room], upward)}"
    assert order == sorted(order, key=lambda room: HOUSE.index(room.partition("/")[0]))


def test_the_model_knows_neither_tasks_nor_losses_nor_scores():
    above = {f"sleepmami_jax/{room}" for room in ("tasks", "objectives", "scoring")}
    made = arrows()["sleepmami_jax/models"]
    assert not above & made.keys(), where(made, above & made.keys())


def test_what_is_not_installed_imports_no_tests():
    for module, path in sources("experiments", "benchmarks").items():
        package = module.partition(".")[0]
        for target, line in imports(path):
            assert target.partition(".")[0] in (*HOUSE, package), f"{path}:{line} imports {target}"


def test_the_plan_shows_every_room():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ARROWS:
        name = Path(room).name + ("/" if (ROOT / room).is_dir() else ".py")
        assert name == "__init__.py" or f"\n  {name} " in plan, f"{room} is not in the tree of docs/architecture.md"


def test_a_file_has_one_idea_and_a_function_one_thing_to_do():
    too_long = []
    for path in sources(*HOUSE).values():
        text = path.read_text(encoding="utf-8")
        lengths = {} if path.parent == SHIPPED else {"the file": (text.count("\n"), LONGEST_FILE)}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[node.name] = (node.end_lineno - node.lineno + 1, LONGEST_FUNCTION)
        too_long += [
            f"{path.relative_to(ROOT)}: {name} has {lines} lines, at most {most}"
            for name, (lines, most) in lengths.items()
            if lines > most
        ]
    assert not too_long, "\n".join(too_long)
