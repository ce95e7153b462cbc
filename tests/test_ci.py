"""`.ci/run`: which Pythons it finds, what it asks of make, what it says; make and the Pythons are stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "$@" >> asked
case "$3" in
  */sleepmami) mkdir -p "$(dirname "$3")"; printf '#!/bin/sh\\n[ "$1" = -m ] || echo "$0"\\n' > "$(dirname "$3")/python"
               chmod +x "$(dirname "$3")/python" ;;
esac
[ "$3" != "$FAILS" ]
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def ci(tmp_path):
    """Runs it where Python 3.11 is on PATH and `python3.13` there leads to nothing, as pyenv's own may."""
    checkout, stubs = tmp_path / "checkout", tmp_path / "stubs"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(RUN, checkout / ".ci" / "run")
    for name, text in {
        "make": MAKE,
        "chromium": "",
        "python3.11": "#!/bin/sh\necho 3.11\n",
        "python3.13": "#!/bin/sh\nexit 127\n",
    }.items():
        write(stubs / name, text)

    def run(fails=""):
        environment = {"PATH": f"{stubs}:{os.environ['PATH']}", "PYENV_ROOT": str(tmp_path / "pyenv")}
        done = subprocess.run(
            [checkout / ".ci" / "run"], env=environment | {"FAILS": fails}, capture_output=True, text=True
        )
        return done.returncode, done.stdout.splitlines(), (checkout / "asked").read_text().splitlines()

    run.pyenv = tmp_path / "pyenv"
    return run


def test_both_pythons_are_run_and_linted_once(ci):
    write(ci.pyenv / "versions" / "3.13.9" / "bin" / "python", "#!/bin/sh\necho 3.13\n")
    code, said, asked = ci()
    assert code == 0
    assert said == ["The suite was run on .venv-3.11/bin/python: passed; .venv-3.13/bin/python: passed"]
    assert [line.split()[2] for line in asked] == [
        ".venv-3.11/bin/sleepmami",
        "test",
        ".venv-3.13/bin/sleepmami",
        "suite",
    ]
    assert f"PYTHON={ci.pyenv}/versions/3.13.9/bin/python" in asked[-1]


def test_a_python_that_is_not_there_is_named(ci):
    code, said, _ = ci()
    assert code == 0
    assert said[0].startswith("Python 3.13 is not installed here")
    assert said[1] == "The suite was run on .venv-3.11/bin/python: passed"


def test_a_failure_on_one_does_not_hide_the_other(ci):
    write(ci.pyenv / "versions" / "3.13.9" / "bin" / "python", "#!/bin/sh\necho 3.13\n")
    code, said, _ = ci(fails="test")
    assert code == 1
    assert said[-1].endswith(".venv-3.11/bin/python: FAILED; .venv-3.13/bin/python: passed")
