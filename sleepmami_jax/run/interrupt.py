"""Ctrl-C ends a command within seconds, whatever it is waiting for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

STOPPED = 130
"""Exit status: 128 and the number of the signal, as shells have it."""
_LEAVE_S = 6.0
"""A command has so long to leave in order, the runs of a sweep five of them."""


def heed_interrupts(last_words: Callable[[], None]) -> None:
    """From now on an interrupt also stops the processes that work for this one, and ends it where it does not end.

    Python hears of a signal between two of its own steps only: never while one is compiled or a pool is waited for.
    So a thread is told too. A second interrupt ends at once. Whatever is half written has a name that says so.

    Args:
      last_words: what to print, if nobody else is left to.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as behind `nohup … &`
        return
    heard, bell = socket.socketpair()
    bell.setblocking(False)
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupted)
    threading.Thread(target=_watch, args=(heard, bell, last_words), name="interrupt", daemon=True).start()


def _interrupted(*_) -> None:
    signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
    raise KeyboardInterrupt


def _watch(heard: socket.socket, bell: socket.socket, last_words: Callable[[], None]) -> None:
    """`bell` is kept open here."""
    while signal.SIGINT not in heard.recv(64):
        pass
    for child in multiprocessing.active_children():  # they would finish what they are at
        child.terminate()
    time.sleep(_LEAVE_S)
    last_words()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(STOPPED)
