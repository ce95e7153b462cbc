"""Parses one `.set` and writes what is in it to standard output; a program of its own, run by `eeglab`.

A line of JSON, then, where the data are inside the file, its samples: float32, channel after channel.
"""

import json
import os
import resource
import sys

import mne
import numpy as np

_TIMES_THE_FILE = 10
"""Arrays in a MAT file are packed, and are held as 64-bit numbers, more than once. Beyond it the file lies."""
_BESIDE_BYTES = 2**30


def limit_memory(path: str) -> None:
    """A small file cannot ask for much: this process ends instead. Linux only, where it is known what it has now."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        most = now + _BESIDE_BYTES + _TIMES_THE_FILE * os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    limit_memory(sys.argv[1])
    raw = mne.io.read_raw_eeglab(sys.argv[1], preload=False, verbose="ERROR")
    marks = [(float(a["onset"]), float(a["duration"]), str(a["description"])) for a in raw.annotations]
    facts = {
        "rate_hz": float(raw.info["sfreq"]),
        "labels": [str(name) for name in raw.ch_names],
        "n": int(raw.n_times),
        "data": str(raw.filenames[0]),
        "marks": marks,
    }
    out = sys.stdout.buffer
    out.write(json.dumps(facts).encode() + b"\n")
    if not facts["data"].endswith(".fdt"):
        for channel in range(len(raw.ch_names)):
            # mne takes EEGLAB's numbers for microvolts and gives volts.
            out.write((raw[channel][0][0] * 1e6).astype(np.float32).tobytes())
