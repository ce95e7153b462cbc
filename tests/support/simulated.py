"""How simulated nights are looked at."""

import hashlib
import json

HOURS = (1.0, 1.2)


def truth_of(out, path):
    return json.loads((out / "truth" / f"{path.stem}.json").read_text())


def count(events, kinds):
    return sum(event.kind in kinds and event.scored for event in events)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
