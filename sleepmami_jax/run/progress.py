"""Progress bars for work that goes night by night."""

from __future__ import annotations

from collections.abc import Callable

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
