"""Reading ahead of training, in threads of this process or in processes of their own.

The batches are the same, and in the same order, whoever reads them: batch i is read by worker i modulo their number.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

import grain
from absl import flags

from data_pipeline.processes import end_with_parent

BATCHES_OF_WORKER = 4
"""A worker keeps at least so many in memory: Grain has one that is made, one that is sent, and one or more in a buffer
on either side."""


@dataclass(frozen=True)
class ReadAhead:
    """How far is read ahead, and by whom.

    Attributes:
      batches: how many may be in memory at once, over all workers, or as many as those cannot do without.
      threads: of this process, where there are no workers.
      workers: processes; each imports what this one has imported, which takes seconds and some 90 MB of its own. What
        they read comes through shared memory, which takes more than half as much again of processor time.
    """

    batches: int
    threads: int = 1
    workers: int = 0

    def start(self, batches: grain.MapDataset) -> grain.DatasetIterator:
        """Begins to read them from the first on; whoever asked closes the iterator."""
        if not self.workers:
            return iter(batches.to_iter_dataset(grain.ReadOptions(self.threads, self.batches)))
        if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags; a program of one's own parses none
            flags.FLAGS.mark_as_parsed()
        buffered = (max(self.batches // self.workers, BATCHES_OF_WORKER) - 2) // 2
        options = grain.MultiprocessingOptions(self.workers, buffered)
        in_worker = batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        return iter(in_worker.mp_prefetch(options, _begin_worker))


def _begin_worker(index: int, count: int) -> None:
    """A worker ends with the process that started it, and not before: that one may be saving what it has done.

    A batch system asks all processes of a job to stop, and a terminal interrupts all of them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()  # Grain asks a worker to stop; whoever is killed asks nobody, and its workers would wait for ever
