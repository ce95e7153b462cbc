"""What another process says of a file, and what is said of one that it does not survive."""

import pytest

from data_pipeline.night import RecordingError
from data_pipeline.readers.other_process import said_of

PROGRAMS = {
    "import os, sys; os.kill(os.getpid(), 9)": "ended the process",
    "import sys; sys.exit(1)": "not of this kind",
    "import time; time.sleep(60)": "still unread after 2 s",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_file_that_is_not_survived_is_refused(tmp_path, program):
    (tmp_path / "reads.py").write_text(program)
    with pytest.raises(RecordingError, match=PROGRAMS[program]):
        said_of(tmp_path / "night.x", tmp_path / "reads.py", 2, "not of this kind")


def test_what_is_printed_comes_back_and_no_module_beside_is_imported(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    (tmp_path / "reads.py").write_text("import json, sys; print(json.dumps(sys.argv[1]), end='')")
    assert said_of(tmp_path / "night.x", tmp_path / "reads.py", 20, "") == f'"{tmp_path}/night.x"'.encode()
