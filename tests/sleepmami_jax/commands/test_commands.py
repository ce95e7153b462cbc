"""What every command has: a file of its own, and help with an example that can be given as it stands."""

import shlex
from importlib import import_module
from pathlib import Path

import pytest

from sleepmami_jax import commands
from sleepmami_jax.cli import COMMANDS, parse


def test_every_file_of_the_folder_is_a_command_but_what_they_share():
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    modules = {name.replace("-", "_") for name in COMMANDS}
    assert files - {"__init__", "arguments"} == modules and len(set(COMMANDS)) == len(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_what_it_does_and_gives_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["sleepmami", name, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    module = import_module(f"sleepmami_jax.commands.{name.replace('-', '_')}")
    assert " ".join(module.__doc__.partition("\n\n")[0].split()) in " ".join(said.split())
    for line in said.split("example:\n")[1].split("\n\n")[0].splitlines():
        assert line.startswith(f"  sleepmami {name}")
        assert parse(shlex.split(line)).run is module.run


def test_each_set_counts():
    args = parse(["sleepmami", "pretrain", "--config", "c", "--workdir", "w", "--set", "a=1", "--set", "b=2", "c=3"])
    assert args.set == ["a=1", "b=2", "c=3"]
