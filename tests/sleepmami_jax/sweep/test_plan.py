"""What is refused before any run starts."""

from __future__ import annotations

import pytest

from sleepmami_jax.config import ConfigError
from sleepmami_jax.sweep.plan import load_sweep
from tests.support.sweeps import EXPERIMENT


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def sweep", "def sweeps", r"defines sweep\(\)"),
        ("*runs, Run", "*runs, *runs, Run", "two runs are named 'fine-2-0'"),
        (
            'after=("pond",)',
            'after=("pand",)',
            "'fine-2-0' comes after 'pand', which is no run; did you mean 'pond'",
        ),
        ('Run("pond", pond)', 'Run("pond", pond, after=("fine-2-0",))', "wait for each other: .*pond"),
        ('Run("pond", pond)', 'Run("a/b", pond)', "'a/b': expected a folder's name"),
        ('Run("pond", pond)', 'Run("pond", lambda dir: {})', "use functions defined in a module"),
        ("net=net, width", "net={net}, width", "cannot be told from another"),
        ('Plot("net"', 'Plot("nets"', "'nets' is no factor of any run; did you mean 'net'"),
    ],
)
def test_mistakes_are_found_before_anything_starts(file, old, new, message):
    assert old in EXPERIMENT
    file.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_sweep(file)
