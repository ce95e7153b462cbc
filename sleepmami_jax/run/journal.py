"""What a run leaves besides checkpoints.

`metrics.jsonl` has one line a step, and nothing in it depends on the clock: an interrupted run ends with the same
bytes as an unbroken one. `clock.jsonl` has the times: starts, compilation, throughput, saves (see
`training.throughput`). With TensorBoard or Weights & Biases the same numbers go there too.
"""

from __future__ import annotations

import atexit
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epath

from data_pipeline.whole_files import write_whole
from sleepmami_jax.run.places import in_bucket

if TYPE_CHECKING:
    from sleepmami_jax.run.tensorboard import TensorBoard
    from sleepmami_jax.run.wandb import WeightsAndBiases


class Journal:
    """Append-only JSON lines; metrics and throughput also go to boards, made for the folder that the lines are in.

    Objects in a bucket cannot be appended to: for a folder there, all is written in a temporary one on the disk, and
    `flush` copies its files whole.

    Raises OSError, naming the file, where the disk is full.
    """

    def __init__(self, folder: epath.Path, *boards: Callable[[Path], TensorBoard | WeightsAndBiases]):
        self._bucket = folder if in_bucket(folder) else None
        folder = self._folder = _fetched(folder) if self._bucket else Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = folder / "metrics.jsonl"
        self._clock = folder / "clock.jsonl"
        self._boards = [board(folder) for board in boards]
        if self._clock.exists() and not self._clock.read_bytes().endswith(b"\n"):  # a full disk cut it
            with _writing(self._clock), self._clock.open("a") as file:
                file.write("\n")

    def rewind(self, step: int) -> tuple[int, float | None]:
        """Forget the metrics of steps after `step`, and a line that a kill cut short.

        Returns:
          how many whole steps were forgotten, and when the last metrics were written (seconds since 1970; None if
          never, or in a bucket, where the clock ends with them).
        """
        for board in self._boards:
            board.rewind(step)
        if not self._metrics.exists():
            return 0, None
        written = None if self._bucket else self._metrics.stat().st_mtime
        lines = list(_lines(self._metrics))
        kept = [line for line, entry in lines if entry["step"] <= step]
        with _writing(self._metrics):
            write_whole(self._metrics, "".join(f"{line}\n" for line in kept))
        return len(lines) - len(kept), written

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """One step's values; null in the line where one is no number."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._append(self._metrics, {"step": step, **finite})
        for board in self._boards:
            board.scalars(step, values)

    def clock(self, event: str, **values) -> None:
        """Something that took time; stamped with seconds since 1970."""
        self._append(self._clock, {"time": round(time.time(), 3), "event": event, **values})
        if event == "throughput":
            rates = {f"throughput/{name}": v for name, v in values.items() if isinstance(v, float)}
            for board in self._boards:
                board.scalars(values["step"], rates)

    def clock_events(self) -> list[dict[str, Any]]:
        """All that `clock` wrote in this folder, by this process and by those before it."""
        return [event for _, event in _lines(self._clock)]

    def flush(self) -> None:
        """Everything is in the bucket; on a disk it is there already."""
        if self._bucket is not None:
            for path in sorted(p for p in self._folder.rglob("*") if p.is_file()):
                (self._bucket / path.relative_to(self._folder)).write_bytes(path.read_bytes())

    def close(self) -> None:
        """Everything is where it belongs."""
        for board in self._boards:
            board.close()
        self.flush()

    @staticmethod
    def _append(path: Path, entry: dict) -> None:
        with _writing(path), path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines and what they say, but for those that a kill or a full disk cut."""
    for line in path.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            yield line, json.loads(line)


def _fetched(folder: epath.Path) -> Path:
    """A temporary folder with a copy of the lines in `folder`, until the program ends."""
    temporary = Path(tempfile.mkdtemp(prefix="sleepmami-"))
    atexit.register(shutil.rmtree, temporary)
    for name in ("metrics.jsonl", "clock.jsonl"):
        if (folder / name).exists():
            (temporary / name).write_bytes((folder / name).read_bytes())
    return temporary


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors that name the file, which those of a full disk do not."""
    try:
        yield
    except OSError as error:
        advice = "make space, or mend what is wrong, and the same command goes on from the last checkpoint"
        raise OSError(error.errno, f"{path} cannot be written ({error.strerror}); {advice}") from error
