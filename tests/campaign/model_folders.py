"""Whether every damaged or hostile model folder is loaded as it was, or refused in one line: nothing run, no flood.

    python -m tests.campaign.model_folders [--cases 1000] [--seed 0]

Both kinds of folder, ours and the twin's for PyTorch, which is read by both programs. Case k of a seed is always the
same. A hostile maker seals what he has made: of such a folder, what he has sealed may be loaded, if it is a model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import random
import shutil
import struct
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from sleepmami_jax.export.description import sealed
from tests.campaign.fuzz import campaign, limit_memory

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LONGEST_LINE = 700
LONGEST_S = 60
"""A folder takes a third of a second to read; the rest is for other programs on the machine."""
NASTY = (
    *(None, True, False, -1, 0, 3, 65537, 10**9, 2**63, -(2**70), 10**400, 1e-320, 1e308, float("nan"), float("inf")),
    *("", "\n\nTraceback", "\ud800", "../../etc/passwd", "eval", "a.b", "x" * 10**5, [], {}, [[]], [None], {"": {}}),
)
"""Put in place of something in a description; text that is no JSON is put there by `_as_text`."""
TEXTS = ("NaN", "-Infinity", "1e99999", "9" * 5000, "[" * 10**5, '{"a":' * 10**4, '"\\ud800"', "01", "'x'", "\x00", "{")


class Spoiler:
    """One case: a copy of a folder, and what is done to it. `sealed_anew` says whether its maker has sealed it."""

    def __init__(self, folder: Path, donor: Path, rng: random.Random):
        self.folder, self.donor, self.rng, self.sealed_anew = folder, donor, rng, False

    @property
    def described(self) -> dict[str, Any]:
        return json.loads((self.folder / CONFIG).read_text())

    def seal(self, described: dict[str, Any] | None = None) -> None:
        """As whoever made the folder on purpose would."""
        described = self.described if described is None else described
        path = self.folder / WEIGHTS
        if path.is_file():
            described["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (self.folder / CONFIG).write_text(sealed(described))
        self.sealed_anew = True

    def perhaps_seal(self) -> None:
        if self.rng.random() < 0.5:
            self.seal()

    # ------------------------------------------------------------------------------------ bytes and files

    def bits(self) -> None:
        path = self.folder / self.rng.choice((CONFIG, WEIGHTS))
        data = bytearray(path.read_bytes())
        first = min(len(data), 5000) if self.rng.random() < 0.5 else len(data)  # headers are short
        for _ in range(self.rng.choice((1, 1, 2, 50))):
            data[self.rng.randrange(first)] ^= 1 << self.rng.randrange(8)
        path.write_bytes(data)

    def cut(self) -> None:
        path = self.folder / self.rng.choice((CONFIG, WEIGHTS))
        data = path.read_bytes()
        path.write_bytes(data[: self.rng.choice((0, 1, 8, 9, self.rng.randrange(len(data))))])
        if path.name == WEIGHTS:
            self.perhaps_seal()

    def longer(self) -> None:
        path = self.folder / self.rng.choice((CONFIG, WEIGHTS))
        with path.open("ab") as file:
            file.write(self.rng.randbytes(self.rng.choice((1, 8, 10_000))))
        if path.name == WEIGHTS:
            self.perhaps_seal()

    def huge(self) -> None:
        """A file of terabytes, which takes no room on the disk."""
        path = self.folder / self.rng.choice((CONFIG, WEIGHTS))
        if path.name == WEIGHTS:
            self.perhaps_seal()
        os.truncate(path, 2 ** self.rng.choice((33, 40)))

    def swapped(self) -> None:
        name = self.rng.choice((CONFIG, WEIGHTS))
        shutil.copy(self.donor / name, self.folder / name)

    def other_kind(self) -> None:
        name = self.rng.choice((CONFIG, WEIGHTS))
        other = self.folder.parent / ("twin" if self.folder.name == "ours" else "ours")
        shutil.copy(other / name, self.folder / name)
        if name == WEIGHTS:
            self.perhaps_seal()

    def gone(self) -> None:
        (self.folder / self.rng.choice((CONFIG, WEIGHTS))).unlink()

    def no_file(self) -> None:
        path = self.folder / self.rng.choice((CONFIG, WEIGHTS))
        path.unlink()
        match self.rng.randrange(6):
            case 0:
                path.mkdir()
            case 1:
                os.mkfifo(path)
            case 2:
                path.symlink_to("/dev/zero")
            case 3:
                path.symlink_to(path.name)
            case 4:
                path.symlink_to("/nowhere/at/all")
            case 5:
                path.symlink_to((self.donor / path.name).absolute())

    def program(self) -> None:
        """A file that runs something when it is read carelessly."""
        mark = self.folder.parent / "ran"

        class Evil:
            def __reduce__(self):
                return (Path.touch, (mark,))

        data = pickle.dumps(Evil())
        path = self.folder / WEIGHTS
        match self.rng.randrange(4):
            case 0:
                path.write_bytes(data)
            case 1:
                with zipfile.ZipFile(path, "w") as file:  # as torch.save writes it
                    file.writestr("archive/data.pkl", data)
            case 2:
                with path.open("wb") as file:
                    np.savez(file, **{"macro/norm/scale": np.array([Evil()], object)})
            case 3:
                for name in ("pytorch_model.bin", "model.pkl", "config.pkl"):
                    (self.folder / name).write_bytes(data)
                run = f"open({str(mark)!r}, 'w')\n"
                for name in ("__init__.py", "sitecustomize.py", "safetensors.py"):
                    (self.folder / name).write_text(run)
        self.perhaps_seal()

    # -------------------------------------------------------------------------------------- descriptions

    def _place(self, tree: Any) -> tuple[Any, Any]:
        """Something in a tree of JSON: what holds it, and its name or place there."""
        places = []
        todo = [tree]
        while todo:
            part = todo.pop()
            for key, value in part.items() if isinstance(part, dict) else enumerate(part):
                places.append((part, key))
                if isinstance(value, dict | list):
                    todo.append(value)
        return self.rng.choice(places)

    def value(self) -> None:
        described = self.described
        for _ in range(self.rng.choice((1, 1, 3))):
            holder, key = self._place(described)
            holder[key] = self.rng.choice(NASTY)
        self._write(described)

    def named(self) -> None:
        """A name too many, or too few, or another."""
        described = self.described
        holder, key = self._place(described)
        if not isinstance(holder, dict):
            holder, key = described, self.rng.choice([*described])
        what = holder.pop(key)
        if self.rng.random() < 0.6:
            holder[self.rng.choice(("", "new", "\ud800", "__class__", "a\nb", key + "s", "x" * 10**5))] = what
        if self.rng.random() < 0.3:
            holder[key] = what
        self._write(described)

    def _write(self, described: dict[str, Any]) -> None:
        if self.rng.random() < 0.75:
            self.seal(described)
        else:
            (self.folder / CONFIG).write_text(json.dumps(described))

    def text(self) -> None:
        """What no JSON library would write, in place of a value."""
        described, mark = self.described, "here is the place"
        holder, key = self._place(described)
        holder[key] = mark
        text = json.dumps(described).replace(json.dumps(mark), self.rng.choice(TEXTS))
        (self.folder / CONFIG).write_text(text)

    def twice(self) -> None:
        """A name twice, of which readers may take either."""
        text = (self.folder / CONFIG).read_text()
        name = self.rng.choice([*self.described])
        again = json.dumps({name: self.rng.choice((3, self.described[name]))})[1:-1]
        first = self.rng.random() < 0.5
        text = text.replace("{", "{" + again + ",", 1) if first else text.rstrip()[:-1] + "," + again + "}"
        (self.folder / CONFIG).write_text(text)

    # ------------------------------------------------------------------------------------------- weights

    def header(self) -> None:
        """A header of safetensors that lies."""
        data = (self.folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        entries, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        names = [name for name in entries if name != "__metadata__"]
        name, other = self.rng.sample(names, 2)
        entry, text = entries[name], None
        match self.rng.randrange(10):
            case 0:
                entry["data_offsets"] = entries[other]["data_offsets"]
            case 1:
                entry["data_offsets"] = [0, self.rng.choice((2**63, 2**64, 2**70, len(body) + 1, -1))]
            case 2:
                entry["data_offsets"] = entry["data_offsets"][:: self.rng.choice((-1, 2))]
            case 3:
                entry["dtype"] = self.rng.choice(("F64", "BF16", "F16", "I32", "I64", "BOOL", "C64", "F8_E4M3", "X", 3))
            case 4:
                entry["shape"] = self.rng.choice(([2**40, 2**40], [-1], [0], [], [1e9], "x", [2**64], [1] * 10**4))
            case 5:
                entries[self.rng.choice(("a\nb", "\ud800", "x" * 10**5, "../x", name.upper()))] = entries.pop(name)
            case 6:
                del entries[name]
            case 7:
                entries[name], entries[other] = entries[other], entries[name]
            case 8:
                text = self.rng.choice(TEXTS)
            case 9:
                length = self.rng.choice((0, 1, 2**32, 2**63, 2**64 - 1, len(data) * 2))
                (self.folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + data[8:])
                return self.seal()
        text = (json.dumps(entries) if text is None else text).encode("utf-8", "surrogatepass")
        (self.folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + body)
        return self.seal() if self.rng.random() < 0.8 else None

    def numbers(self) -> None:
        """Numbers that are none."""
        data = bytearray((self.folder / WEIGHTS).read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        place = 8 + length + 4 * self.rng.randrange((len(data) - 8 - length) // 4)
        data[place : place + 4] = struct.pack("<f", self.rng.choice((float("nan"), float("inf"), float("-inf"))))
        (self.folder / WEIGHTS).write_bytes(data)
        self.seal()


DAMAGES: tuple[Callable[[Spoiler], None], ...] = (
    *(Spoiler.bits, Spoiler.cut, Spoiler.longer, Spoiler.huge, Spoiler.swapped, Spoiler.other_kind, Spoiler.gone),
    *(Spoiler.no_file, Spoiler.program, Spoiler.value, Spoiler.value, Spoiler.value, Spoiler.named, Spoiler.text),
    *(Spoiler.twice, Spoiler.header, Spoiler.header, Spoiler.numbers),
)


def _facts(model: Any) -> tuple:
    """What must be the same of a model that is loaded as it was: of ours, or of the twin's `SleepMaMi`."""
    if hasattr(model, "params"):
        of_it, arrays = (model.config, model.tasks, model.thresholds, model.card), model.params
    else:
        of_it = json.dumps(model.described, sort_keys=True)  # a name that stands twice changes the order
        arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    return repr(of_it), {name: value.tobytes() for name, value in arrays.items()}


def _outcome(read: Callable[[Path], Any], spoiler: Spoiler, expected: tuple) -> str:
    """Raises AssertionError, or whatever `read` raises that is no refusal."""
    try:
        same = _facts(read(spoiler.folder)) == expected
    except ValueError as error:
        said = str(error)
        assert "\n" not in said and len(said) <= LONGEST_LINE, f"refused in more than a line: {said!r:.2000}"
        assert str(spoiler.folder) in said, f"refused without the name of the file: {said}"
        said.encode()
        return "refused"
    assert same or spoiler.sealed_anew, "loaded, and it is another model"
    return "same" if same else "as sealed"


def readers() -> dict[str, tuple[str, Callable[[Path], Any]]]:
    """Program -> the kind of folder, and what reads it."""
    from sleepmami_jax.export.folder import load_model
    from sleepmami_jax.twin.folder import read_twin, twin_module

    return {"ours": ("ours", load_model), "home": ("twin", read_twin), "torch": ("twin", twin_module().load)}


def outcomes(seeds: Path, number: int, seed: int, expected: dict[str, tuple]) -> str:
    """What came of a case: its damage, and what each reader did.

    Args:
      seeds: with the folders "ours" and "twin", and "donor" with two of another model of the same shape.
    """
    rng = random.Random(f"{seed}/{number}")
    kind, damage = ("ours", "twin")[number % 2], rng.choice(DAMAGES)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("ours", "twin"):
            (Path(scratch) / name).mkdir()
            for file in (CONFIG, WEIGHTS):
                shutil.copy(seeds / name / file, Path(scratch) / name)
        spoiler = Spoiler(Path(scratch) / kind, seeds / "donor" / kind, rng)
        damage(spoiler)
        said = []
        for program, (of_kind, read) in readers().items():
            if of_kind == kind:
                said.append(f"{program} {_outcome(read, spoiler, expected[program])}")
        assert not (Path(scratch) / "ran").exists(), "code of the folder was run"
    return f"{damage.__name__}: {', '.join(said)}"


def work(seeds: Path, numbers: range, seed: int, pipe: Connection) -> None:
    """See `campaign`."""
    expected = {program: _facts(read(seeds / kind)) for program, (kind, read) in readers().items()}
    limit_memory()
    for number in numbers:
        try:
            outcome = outcomes(seeds, number, seed, expected)
        except Exception:  # noqa: BLE001  (anything it raises is what is looked for)
            outcome = traceback.format_exc()
        pipe.send((number, outcome))


def write_seeds(seeds: Path, folder: Any, twin: Path) -> None:
    """The folders that are spoiled.

    Args:
      folder: the `ModelFolder` whose twin lies at `twin`.
    """
    from dataclasses import replace

    import torch

    from sleepmami_jax.export.folder import save_model
    from sleepmami_jax.twin.folder import twin_module

    save_model(folder, seeds / "ours")
    save_model(replace(folder, params={n: v * np.float32(1.5) for n, v in folder.params.items()}), seeds / "donor/ours")
    shutil.copytree(twin, seeds / "twin")
    model = twin_module().load(twin)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.described = model.described | {"card": {**model.described["card"], "results": "Of another."}}
    model.save(seeds / "donor/twin")


def main() -> None:
    from tests.support.twins import tiny_folder, write_unmeasured

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny_folder()
        write_seeds(Path(scratch) / "seeds", folder, write_unmeasured(folder, Path(scratch) / "exported"))
        counts, broken = Counter(), 0
        for number, outcome in campaign(args.cases, args.seed, partial(work, Path(scratch) / "seeds"), LONGEST_S):
            if "\n" in outcome or ": " not in outcome:
                broken += 1
                print(f"case {number}: {outcome}", flush=True)
                continue
            counts.update(outcome.partition(": ")[2].split(", "))
    for outcome, count in sorted(counts.items()):
        print(f"{outcome:<16} {count}")
    if broken:
        sys.exit(f"{broken} of {args.cases} folders broke a reader")


if __name__ == "__main__":
    main()
