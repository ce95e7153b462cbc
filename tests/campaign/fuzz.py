"""Whether every spoiled file is read or refused with a reason: no crash, no hang, no flood of memory.

    python -m tests.campaign.fuzz [--inputs 20000] [--seed 0] [--save DIR]

Files are read in a child process that may take 1 GB more than it began with. Input k of a seed is always the
same; `--save` keeps those that broke something.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from data_pipeline.annotations import read_scoring
from data_pipeline.cohorts import find_nights
from data_pipeline.load import load_night
from data_pipeline.montage.file import read_montage
from data_pipeline.night import RecordingError
from tests.campaign.prepared import read_embeddings, read_journal, read_shards
from tests.campaign.seeds import Seed, seeds, spoil

LONGEST_S = 10
MOST_BYTES = 2**30
_REFUSES = {
    "recording": RecordingError,
    "scoring": RecordingError,
    "demographics": ValueError,
    "manifest": ValueError,
    "shard": ValueError,
    "cache": ValueError,
    "journal": (),
    "montage": (RecordingError, ValueError),
}
"""What a reader of each role may raise."""


def spoiled(number: int, seed: int, only: Sequence[str] | None = None) -> tuple[Seed, bytes]:
    """Input `number` of a campaign; dialects, or `only` those, come by turns."""
    kinds = [kind for kind in seeds() if not only or kind.dialect in only]
    kind = kinds[number % len(kinds)]
    return kind, spoil(kind, random.Random(f"{seed}/{number}"))


def read(kind: Seed, data: bytes, folder: Path) -> str:
    """Reads a file as the pipeline would: "read" or "refused".

    Raises:
      AssertionError: it is refused without a reason. Whatever else is raised is a finding too.
    """
    path = folder / f"{kind.name}{kind.suffix}"
    for beside, content in (*kind.beside, (path.name, data)):
        (folder / beside).write_bytes(content)
    try:
        match kind.role:
            case "recording":
                load_night(path.with_suffix(kind.opens) if kind.opens else path)
            case "scoring":
                read_scoring(path, 150.0)
            case "demographics":
                find_nights([folder / "night.edf"])
            case "manifest" | "shard":
                read_shards(folder, sealed=kind.role == "manifest")
            case "cache":
                read_embeddings(folder)
            case "journal":
                read_journal(folder)
            case "montage":
                load_night(folder / "night.edf", montage=read_montage(path))
    except _REFUSES[kind.role] as error:
        if any(file.name in str(error) for file in folder.iterdir()):
            return "refused"
        raise AssertionError(f"refused without the name of the file: {error}") from error
    finally:
        for file in folder.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    return "read"


def work(only: Sequence[str] | None, numbers: range, seed: int, pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for kind in {(kind.role, kind.suffix): kind for kind in seeds()}.values():
            read(kind, kind.data, folder)  # whatever is imported late is there before memory is counted
        limit_memory()
        for number in numbers:
            kind, data = spoiled(number, seed, only)
            try:
                outcome = read(kind, data, folder)
            except Exception:  # noqa: BLE001  (anything it raises is what is looked for)
                outcome = traceback.format_exc()
            pipe.send((number, outcome))


def limit_memory() -> None:
    """From here on this process may take `MOST_BYTES` more than it has."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def campaign(
    inputs: int, seed: int, work: Callable[..., None], longest_s: float = LONGEST_S
) -> Iterator[tuple[int, str]]:
    """(number, outcome) of each input: "read", "refused", or what went wrong.

    Args:
      work: `(numbers, seed, pipe)`, sends both of each number; it runs in a process of its own.
    """
    context = multiprocessing.get_context("spawn")
    number = 0
    while number < inputs:
        pipe, end = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(range(number, inputs), seed, end), daemon=True)
        child.start()
        end.close()
        wait_s = max(300, longest_s)  # for the imports
        try:
            while number < inputs:
                if not pipe.poll(wait_s):
                    yield number, f"took more than {wait_s} s"
                    number += 1
                    break
                yield pipe.recv()
                number += 1
                wait_s = longest_s
        except EOFError:
            yield number, "the process that read it died"
            number += 1
        finally:
            child.kill()
            child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    busy = "seconds that one may take, where other programs are busy"
    parser.add_argument("--longest", type=float, default=LONGEST_S, help=busy)
    parser.add_argument("--only", nargs="*", help="of these dialects alone, as the report calls them")
    parser.add_argument("--save", type=Path, help="keep what broke something here")
    args = parser.parse_args()
    outcomes: Counter[tuple[str, str]] = Counter()
    broken: Counter[str] = Counter()
    try:
        for number, outcome in campaign(args.inputs, args.seed, partial(work, args.only), args.longest):
            kind, data = spoiled(number, args.seed, args.only)
            verdict = outcome if outcome in ("read", "refused") else "BROKE"
            outcomes[kind.dialect, verdict] += 1
            if verdict == "BROKE":
                last = re.sub(r"0x[0-9a-f]+|\d+|'.*'", "#", outcome.strip().splitlines()[-1])
                if not broken[last]:
                    print(f"input {number} ({kind.dialect}): {outcome}", flush=True)
                broken[last] += 1
                if args.save:
                    args.save.mkdir(parents=True, exist_ok=True)
                    (args.save / f"{number}{kind.suffix}").write_bytes(data)
    except KeyboardInterrupt:
        print(f"stopped after {outcomes.total()} inputs")
    for dialect in dict.fromkeys(dialect for dialect, _ in outcomes):
        counts = ", ".join(f"{outcomes[dialect, v]} {v}" for v in ("read", "refused", "BROKE"))
        print(f"{dialect:<17} {counts}")
    if broken:
        sys.exit(f"{broken.total()} of {outcomes.total()} inputs broke a reader, in {len(broken)} ways")


if __name__ == "__main__":
    main()
