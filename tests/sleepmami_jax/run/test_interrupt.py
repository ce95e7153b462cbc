"""Ctrl-C ends a command, whatever it is waiting for."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import multiprocessing, sys, time
from data_pipeline.processes import deaf_to_interrupts, end_with_parent
from sleepmami_jax.run import interrupt

def work():
    end_with_parent()
    print("at work", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    interrupt._LEAVE_S = 0.2
    interrupt.heed_interrupts(lambda: print("last words"))
    child = multiprocessing.get_context("spawn").Process(target=work)
    with deaf_to_interrupts():
        child.start()
    while True:
        try:
            child.join()
            time.sleep(60)
        except KeyboardInterrupt:
            print("heard", flush=True)
            if sys.argv[1] == "leaves":
                sys.exit(interrupt.STOPPED)
"""


@pytest.mark.parametrize("how", ["leaves", "stays"])
def test_a_command_ends_with_its_processes_and_quietly(tmp_path, how):
    (tmp_path / "program.py").write_text(PROGRAM)
    run = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", how],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout.readline() == "at work\n"
    begun = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    said, complaints = run.communicate(timeout=30)
    assert run.returncode == 130 and time.monotonic() - begun < 20
    assert said == ("heard\n" if how == "leaves" else "heard\nlast words\n") and not complaints
