"""Keep the C heap between calls.

XLA on CPU takes its temporary buffers anew at every call, and glibc gives them back to the kernel each time: for a
training step that is hundreds of thousands of page faults. Asking glibc to keep what it has is worth tens of percent.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # malloc.h


def keep_heap() -> bool:
    """Ask glibc not to return memory; before JAX is imported. True where that was possible (Linux with glibc).

    Set SLEEPMAMI_KEEP_HEAP=0 to leave the allocator alone, for instance on an accelerator's host.
    """
    if sys.platform != "linux" or os.environ.get("SLEEPMAMI_KEEP_HEAP") == "0":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library, such as musl
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20), (_ARENA_MAX, 1))
    return all([mallopt(name, value) for name, value in settings])
