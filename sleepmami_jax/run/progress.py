"""Progress bars for work that goes night by night."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int], Callable[[], None]]
"""`(description, nights) -> tick`; tick is called after each night."""


def bars(*, quiet: bool) -> Progress:
    """One bar for each piece of work, with an estimate of what is left."""

    def show(description: str, total: int) -> Callable[[], None]:
        bar = tqdm(total=total, desc=description, unit="night", disable=quiet)

        def tick() -> None:
            bar.update()
            if bar.n >= total:
                bar.close()

        return tick

    return show


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for work that says itself `(nights done, nights in all, night_id)`."""
    with tqdm(desc=description, unit="night", delay=0.5) as bar:

        def progress(done: int, total: int, night_id: str) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
