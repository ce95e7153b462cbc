"""Checkpoints (Orbax v1): parameters, optimiser, step and the position in the data, saved together.

Saves are asynchronous and appear whole or not at all. A restore compares what is stored with what is expected
before it loads, because Orbax raises the same error for a damaged file as for another model; a damaged step is
named and the one before it is used. It never starts anew on its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from sleepmami_jax.run.places import in_bucket

KEPT = 2
SAVE_S = 600.0
"""A save that is not on disk when it has been waited for so long has failed. Where one of many processes cannot write
its part, Orbax lets all of them wait for each other, itself for 20 minutes."""


class CheckpointError(RuntimeError):
    """A run that cannot be resumed, or a state that cannot be saved; says what differs, is damaged or failed."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: epath.Path):
        self.folder = folder = folder if in_bucket(folder) else folder.absolute()  # as Orbax wants it
        try:
            self._saver = ocp.training.Checkpointer(
                folder,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=ocp.training.preservation_policies.LatestN(KEPT),
                cleanup_tmp_directories=True,
            )
        except ValueError as error:
            raise CheckpointError(
                f"{folder}: the description of a checkpoint is damaged ({error}); "
                "remove the folder of the newest step, and the one before it is used"
            ) from error
        self._pending, self._failed = None, False

    def save(self, step: int, state: dict[str, Any], position: dict[str, Any]) -> None:
        """Begin to save; waits for the save before it. Raises CheckpointError if that one failed."""
        self.wait()
        own = {"position": position, "checksum": _checksum(state)}
        with self._saving():
            self._pending = self._saver.save_async(step, state, custom_metadata=own, force=True, overwrite=True)

    def wait(self) -> None:
        """Until the last save is on disk. Raises CheckpointError if it failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._saving():
                pending.result(timeout=SAVE_S)

    def restore(self, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The newest whole checkpoint as `(state, position)`, or None if the run has none.

        Args:
          like: a state of the same shapes on the devices it should come back to.

        Raises:
          CheckpointError: the stored state is of another model, or every step is damaged.
        """
        steps = sorted((c.step for c in self._saver.checkpoints), reverse=True)
        for step in steps:
            problem = None
            try:
                state, own = self._load(step, like)
            except CheckpointError:
                raise
            except Exception as error:  # noqa: BLE001 Orbax has no one class for a damaged file
                problem = str(error)
            # One of many processes may be alone in finding its part damaged. All have to take the same step.
            if not multihost_utils.process_allgather(np.bool_(problem is None)).all():
                problem = problem or "another process cannot read it"
            elif _checksum(state) != own["checksum"]:
                problem = "its values are not those that were saved (checksum)"
            if problem is None:
                return state, own["position"]
            logging.error("checkpoint %s/%d is damaged and is passed over: %s", self.folder, step, problem)
        if steps:
            raise CheckpointError(
                f"{self.folder}: every checkpoint ({', '.join(map(str, steps))}) is damaged; restore the folder "
                "from a copy, or start a new run in another workdir"
            )
        return None

    def _load(self, step: int, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The state of a step, and what was saved with it; waits for no other process, which may have failed."""
        metadata = self._saver.metadata(step)
        stored, own = _shapes(metadata.metadata), metadata.custom_metadata
        if not stored or not own:  # how Orbax reads a damaged description
            raise ValueError("its description cannot be read")
        _same_tree(stored, _shapes(like), step, self.folder)
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        alone = ocp.Context()
        alone.multiprocessing.primary_host = jax.process_index()
        alone.multiprocessing.active_processes = {jax.process_index()}
        with alone:
            return ocp.load(self.folder / str(step), abstract), own

    def close(self) -> None:
        """Waits for the last save, unless one failed before. Raises CheckpointError if it failed."""
        self.wait()
        if not self._failed:
            self._saver.close()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Failures to write as CheckpointError; TensorStore has the system's own in a ValueError."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            self._failed = True
            why, free = str(error), ""
            if isinstance(error, TimeoutError):
                why = f"it was not done after {SAVE_S:.0f} s; see whether another process could not write"
            if not in_bucket(self.folder):
                with suppress(OSError):  # the disk may be what is gone
                    free = f"; {shutil.disk_usage(self.folder).free / 1e9:.1f} GB are free there"
            raise CheckpointError(
                f"{self.folder}: a checkpoint could not be saved ({why}){free}. Those before it are whole: "
                "make space, or mend what is wrong, and the same command goes on from the newest"
            ) from error


def _checksum(state) -> int:
    """Of the bits of all leaves: Orbax does not notice a changed bit inside a compressed array.

    Every 32-bit word counts by its place, modulo 2**32: a changed bit changes the sum, and the number of devices and
    processes does not.
    """
    total = 0
    for number, leaf in enumerate(jax.tree.leaves(state)):
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                total += _word_sum(np.asarray(shard.data), shard.index, leaf.shape, number)
    parts = multihost_utils.process_allgather(np.uint32(total % 2**32))
    return int(parts.sum(dtype=np.uint32))


def _word_sum(part: np.ndarray, index: tuple[slice, ...], shape: tuple[int, ...], number: int) -> int:
    place = np.full((1,) * part.ndim, number, np.uint32)
    for axis, (span, size) in enumerate(zip(index, shape, strict=True)):
        along = np.arange(size, dtype=np.uint32)[span].reshape([-1 if a == axis else 1 for a in range(part.ndim)])
        place = place * np.uint32(size) + along
    words = np.ascontiguousarray(part).view(np.uint32)
    return int((words * (2 * place + 1)).sum(dtype=np.uint32))  # odd, so that no change is lost


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def _same_tree(stored, expected, step, folder) -> None:
    differences = [f"{name} is missing from it" for name in sorted(expected.keys() - stored.keys())]
    differences += [f"{name} is not in this model" for name in sorted(stored.keys() - expected.keys())]
    other = sorted(name for name in expected.keys() & stored.keys() if stored[name] != expected[name])
    differences += [f"{name} has shape {stored[name]}, this model {expected[name]}" for name in other]
    if differences:
        shown = "; ".join(differences[:5]) + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise CheckpointError(
            f"{folder}/{step} holds another model: {shown}. Use the run's own configuration, or another workdir."
        )
