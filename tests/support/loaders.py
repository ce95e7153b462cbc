"""Loaders that misbehave. They have a file of their own so that other processes and nodes can import them."""

import errno
import os
import resource
import shutil
import signal
import time

from tests.support.nights import load_random_night


def dies(recording, scoring=(), **facts):
    """A loader whose process ends at seed 2."""
    if recording.read_text().endswith(" 2"):
        os._exit(9)
    return load_random_night(recording, scoring, **facts)


def stops_at_three(recording, scoring=(), **facts):
    """A loader that a person interrupts at seed 3."""
    if recording.read_text().endswith(" 3"):
        raise KeyboardInterrupt
    return load_random_night(recording, scoring, **facts)


def stops_for_want_of_space(recording, scoring=(), **facts):
    """A loader after which no file of this process may grow past 50 kB, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return load_random_night(recording, scoring, **facts)


def empties_the_folder(recording, scoring=(), **facts):
    """A loader during which somebody removes the output."""
    shutil.rmtree(recording.parent.parent / "out")
    return load_random_night(recording, scoring, **facts)


def cannot_read_two(recording, scoring=(), **facts):
    if recording.stem == "n2":
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(recording))
    return load_random_night(recording, scoring, **facts)


def loses_the_next(recording, scoring=(), **facts):
    """A loader of n1 during which somebody takes n2 away."""
    (recording.parent / "n2.edf").unlink()
    return load_random_night(recording, scoring, **facts)


def does_not_see(recording, scoring=(), **facts):
    """A loader on a machine that has not mounted what is there."""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(recording))


def still_copied(recording, scoring=(), **facts):
    night = load_random_night(recording, scoring, **facts)
    recording.write_text("seed 77")
    return night


def dies_twice_at_two(recording, scoring=(), **facts):
    """A loader that ends its process the first two times it meets n2, and each time it meets n3."""
    if recording.stem in ("n2", "n3"):
        with (recording.parent / f"{recording.stem}.deaths").open("a+") as deaths:
            deaths.write("x")
            if recording.stem == "n3" or deaths.tell() <= 2:
                deaths.close()
                os._exit(9)
    return load_random_night(recording, scoring, **facts)


def stays_on_the_doomed_node(recording, scoring=(), **facts):
    """A loader that does not end on the Ray node that the file `doomed` names."""
    import ray

    if ray.get_runtime_context().get_node_id() == (recording.parent / "doomed").read_text():
        time.sleep(60)
    return load_random_night(recording, scoring, **facts)


def waits(recording, scoring=(), **facts):
    """A loader that says which process it is and does not end."""
    recording.with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(60)


class _EndsEarly:
    """A night that cannot be read past its first block, as from a disk that goes away."""

    def __init__(self, night, error):
        self._night, self._error = night, error

    def __getattr__(self, name):
        return getattr(self._night, name)

    def read(self, start_s, stop_s):
        if start_s >= 60:
            raise self._error
        return self._night.read(start_s, stop_s)


def ends_early(recording, scoring=(), **facts):
    night = load_random_night(recording, scoring, **facts)
    return _EndsEarly(night, RuntimeError("bus error")) if recording.stem == "n2" else night
