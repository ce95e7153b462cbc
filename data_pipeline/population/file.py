"""The population card on the disk: beside a manifest, alone, or inside a model folder."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from data_pipeline.from_json import from_json
from data_pipeline.population.card import Population, population_of
from data_pipeline.shards.manifest import MANIFEST, read_manifest, write_lines

POPULATION = "population.json"
FORMAT, VERSION = "sleepmami-population", 1


def write_population(folder: Path) -> Population:
    """The card of a prepared folder, written to its `population.json` unless that is of this manifest already.

    Raises:
      ValueError: no manifest, or a shard is missing or damaged.
    """
    folder = Path(folder)
    population = _kept(folder)
    if population is None:
        population = population_of((folder, night) for night in read_manifest(folder).nights)
        card = {"format": FORMAT, "version": VERSION, "manifest_sha256": _manifest_sha256(folder)}
        write_lines(folder / POPULATION, [card | {"population": asdict(population)}])
    return population


def read_population(path: Path) -> Population:
    """The card of a prepared folder, a model folder or a card's file. Writes nothing.

    That of a model is of the nights it was last trained on.

    >>> read_population(Path("shards")).nights
    1

    Raises:
      ValueError: none of these, damaged, or a model that was exported without a card.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        kept = _kept(path)
        return kept or population_of((path, night) for night in read_manifest(path).nights)
    is_model = (path / "config.json").is_file()
    file = path / "config.json" if is_model else path
    if not file.is_file():
        raise ValueError(f"{path}: expected a folder of prepared nights, a model folder, or a {POPULATION}")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if is_model:
            value = value["card"]
        elif (value["format"], value["version"]) != (FORMAT, VERSION):
            raise ValueError(f"expected {FORMAT} version {VERSION}")
        return from_json(Population, value["population"])
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # Nothing of it is repeated: it may be anything, a recording with its patient's name, too.
        raise ValueError(f"{file}: no population card is in it; expected a {POPULATION}") from error
    except ValueError as error:
        raise ValueError(f"{file}: a damaged population card ({error})") from error


def _kept(folder: Path) -> Population | None:
    """The folder's own card, if it is there, whole, and of the manifest that is there now."""
    try:
        card = json.loads((folder / POPULATION).read_text(encoding="utf-8"))
        expected = {"format": FORMAT, "version": VERSION, "manifest_sha256": _manifest_sha256(folder)}
        return from_json(Population, card.pop("population")) if card | expected == card else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # it is made again


def _manifest_sha256(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
