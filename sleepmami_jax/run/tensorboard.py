"""Metrics as TensorBoard events."""

from __future__ import annotations

import time
from pathlib import Path

from sleepmami_jax.config import ConfigError


class TensorBoard:
    """Event files of one run in `folder/tensorboard`, a new one at each start.

    Events are written in this thread: tensorboardX's own writer keeps them in a queue that `flush` does not empty,
    and what a killed process had in it would be a gap after the restart.
    """

    def __init__(self, folder: Path):
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.proto.summary_pb2 import Summary
        except ModuleNotFoundError as error:
            raise ConfigError(
                "tensorboard=true: tensorboardX is not installed; `pip install 'sleepmami[tensorboard]'`, "
                "or set tensorboard=false"
            ) from error
        self._folder, self._open, self._writer = folder / "tensorboard", EventsWriter, None
        self._event, self._session, self._summary = Event, SessionLog, Summary

    def rewind(self, step: int) -> None:
        """Begin a file that tells TensorBoard to forget what older files say of steps after `step`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Names sort by the second. Two starts in one second from one step share a name, and nothing but what the
        # second forgets is lost.
        self._writer = self._open(str(self._folder / "events"), f".{step}")
        start = self._session(status=self._session.START)
        self._write(self._event(step=step + 1, session_log=start))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One event with a value for each tag."""
        tags = [self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(self._event(step=step, summary=self._summary(value=tags)))

    def _write(self, event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
