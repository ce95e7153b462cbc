"""The simulated nights that the experiments share: 192 short nights of 154 people at two sites.

    python -m experiments.cohort runs/cohort

Ten minutes on two CPU cores and 14 GB of disk while it works, 3 GB when it is done. Nights are three and a half
hours long, not eight, so that the whole set of experiments fits an afternoon: less REM sleep and fewer cycles than a
real night. 30 % of the people are for testing and 12 % for validation; nobody is on two sides.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.simulate import simulate_cohort

NIGHTS, HOURS, SEED = 192, (3.4, 3.6), 2026
SHARES = PrepareConfig(val_share=0.12, test_share=0.3)


def make(folder: Path, nights: int = NIGHTS, hours: tuple[float, float] = HOURS, seed: int = SEED) -> Path:
    """The prepared nights, made once: `folder/shards`."""
    shards = folder / "shards"
    if (folder / "done").exists():
        return shards
    recordings, workers = folder / "recordings", os.cpu_count() or 1
    with tqdm(total=nights, desc="simulate", unit="night") as bar:
        simulate_cohort(recordings, nights, seed=seed, workers=workers, hours=hours, progress=bar.update)
    with tqdm(total=nights, desc="prepare", unit="night") as bar:
        prepare(
            [recordings],
            shards,
            workers=workers,
            config=SHARES,
            progress=lambda done, total, night: bar.update(done - bar.n),
        )
    (folder / "done").touch()
    shutil.rmtree(recordings)
    return shards


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
