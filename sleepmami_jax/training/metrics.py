"""What a run leaves besides checkpoints.

`metrics.jsonl` has one line a step, and nothing in it depends on the clock: an interrupted run ends with the same
bytes as an unbroken one. `clock.jsonl` has the times: starts, compilation, steps a second, saves.
"""

from __future__ import annotations

import json
import time
from pathlib import Path


class Journal:
    """Append-only JSON lines."""

    def __init__(self, folder: Path):
        self._metrics = folder / "metrics.jsonl"
        self._clock = folder / "clock.jsonl"

    def rewind(self, step: int) -> None:
        """Forget the metrics of steps after `step`, and a line that a kill cut short."""
        if not self._metrics.exists():
            return
        kept = []
        for line in self._metrics.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                break
            if entry["step"] > step:
                break
            kept.append(line)
        temporary = self._metrics.with_suffix(".tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept))
        temporary.replace(self._metrics)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """One step's values."""
        self._append(self._metrics, {"step": step, **values})

    def clock(self, event: str, **values) -> None:
        """Something that took time; stamped with seconds since 1970."""
        self._append(self._clock, {"time": round(time.time(), 3), "event": event, **values})

    @staticmethod
    def _append(path: Path, entry: dict) -> None:
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
