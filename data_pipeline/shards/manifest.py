"""The manifest of a prepared folder: what is known of each night, one JSON line a night after a header line.

The loader plans from this file alone (which epochs are scored, which channels are usable when, how to
normalise them), and reads records only for their samples.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.from_json import from_json
from data_pipeline.modalities import MODALITY_OF, RATE_HZ, SLOTS, Modality
from data_pipeline.night import EPOCH_S, OWN_KIND, STAGES, UNKNOWN_LIGHTS, UNKNOWN_STAGE, Channel, Demographics, Quality
from data_pipeline.runs import runs
from data_pipeline.shards.scale import ChannelScale, second_quality
from data_pipeline.whole_files import whole_file

FORMAT = "sleepmami-shards"
VERSION = 1
MANIFEST = "manifest.jsonl"
SPLITS = ("train", "val", "test")
STAGE_SYMBOLS = "01234"
"""One character an epoch in `NightEntry.stages`: the stage's code, or "?"."""
SHARD_SUFFIX = ".array_record"
_RATE_HZ = {str(modality): RATE_HZ[modality] for modality in SLOTS}
"""What a manifest is written with. A side channel's rate stands in the records that have it."""
_FURTHEST_STEPS = 1e6
"""A median or spread of so many steps, or of a part so small, was not measured on samples of 16 bits: 30 times more."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ChannelEntry:
    """What the manifest says of one channel of one night.

    Attributes:
      slot, modality, label, reason, source_rate_hz: as in `Channel`.
      median, iqr, scale, offset, clipped_samples: as in `ChannelScale`.
      good_share: share of seconds of whole epochs that are good, 0..1.
      usable_epochs: half-open runs [first, end) of epochs with at least one good second.
    """

    slot: str
    modality: Modality
    label: str
    reason: str
    source_rate_hz: float
    median: float | None
    iqr: float | None
    scale: float
    offset: float
    clipped_samples: int
    good_share: float
    usable_epochs: tuple[tuple[int, int], ...]

    def usable(self, n_epochs: int) -> np.ndarray:
        """(n_epochs,) bool: `usable_epochs`, epoch by epoch."""
        epochs = np.zeros(n_epochs, bool)
        for first, end in self.usable_epochs:
            epochs[first:end] = True
        return epochs

    def normalisable(self, min_good_share: float = 0.0) -> bool:
        """Whether the channel can feed the model: something good in it, and a spread to divide by.

        What is normalised by fixed numbers, as SpO2 is, may be steady.
        """
        has_spread = self.modality.facts.normalised_by is not None or bool(self.iqr)
        return self.median is not None and has_spread and self.good_share >= max(min_good_share, 1e-12)


@dataclass(frozen=True)
class NightEntry:
    """One line of the manifest.

    Attributes:
      night_id, subject_id, site: as in `Night`.
      cohort: the adapter it was found by.
      split: "train", "val" or "test".
      shard: name of its file, in the manifest's folder.
      shard_bytes: size of that file.
      records_sha256: over the night's records, each preceded by its length (uint32, little-endian).
      source_sha256: over the recording, its scoring files and what the cohort said of it.
      n_epochs: records in the shard.
      duration_s: seconds of recording, the tail included.
      channels: in the order of `MODALITY_OF`.
      demographics: what is known of the person.
      scored: as in `Scoring`, sorted.
      stages: one character an epoch, see `STAGE_SYMBOLS`.
      event_counts: number of events by kind.
      notes: as in `Night`.
      lights_s: as in `Scoring`; not written where nothing is known.
    """

    night_id: str
    subject_id: str
    site: str
    cohort: str
    split: str
    shard: str
    shard_bytes: int
    records_sha256: str
    source_sha256: str
    n_epochs: int
    duration_s: int
    channels: tuple[ChannelEntry, ...]
    demographics: Demographics
    scored: tuple[str, ...]
    stages: str
    event_counts: dict[str, int]
    notes: tuple[str, ...]
    lights_s: tuple[float | None, float | None] = UNKNOWN_LIGHTS

    @property
    def stage_codes(self) -> np.ndarray:
        """(n_epochs,) int8 codes of `STAGES`, `UNKNOWN_STAGE` where unscored."""
        return stage_codes(self.stages)

    @property
    def stage_counts(self) -> dict[str, int]:
        """Number of epochs of each stage, and of unknown ones under "?"."""
        symbols = zip((*STAGES, "?"), (*STAGE_SYMBOLS, "?"), strict=True)
        return {name: self.stages.count(symbol) for name, symbol in symbols}


@dataclass(frozen=True)
class Manifest:
    """A prepared folder.

    Attributes:
      config: the settings it was prepared with.
      config_sha256: digest of those settings and of the format's version.
      nights: sorted by night_id.
    """

    config: dict[str, Any]
    config_sha256: str
    nights: tuple[NightEntry, ...]


def channel_entry(channel: Channel, scale: ChannelScale, quality: np.ndarray | None = None) -> ChannelEntry:
    """The manifest's line about a channel, given its `channel_scale`.

    `quality` is `second_quality` of the night's seconds, where `channel` is but a piece of it.
    """
    quality = second_quality(channel) if quality is None else quality
    n_epochs = len(quality) // EPOCH_S
    good = (quality[: n_epochs * EPOCH_S] == Quality.GOOD).reshape(n_epochs, EPOCH_S)
    return ChannelEntry(
        slot=channel.slot,
        modality=channel.modality,
        label=channel.label,
        reason=channel.reason,
        source_rate_hz=float(channel.source_rate_hz),
        **dataclasses.asdict(scale),
        good_share=float(good.mean()) if n_epochs else 0.0,
        usable_epochs=tuple(map(tuple, runs(good.any(-1)).tolist())),
    )


def stage_string(stages: np.ndarray) -> str:
    """Stage codes (n_epochs,) as the manifest keeps them, one character an epoch.

    >>> stage_string(np.array([0, 1, 2, -1]))
    '012?'
    """
    return "".join(STAGE_SYMBOLS[code] if code >= 0 else "?" for code in stages)


def stage_codes(stages: str) -> np.ndarray:
    """The inverse of `stage_string`: (n_epochs,) int8."""
    codes = np.frombuffer(stages.encode(), np.uint8).astype(np.int8) - ord("0")
    return np.where(codes < len(STAGE_SYMBOLS), codes, np.int8(UNKNOWN_STAGE))


def is_safe_name(name: str) -> bool:
    """Whether a night's id may be part of a file name: letters, digits, `.`, `_`, `-`, and no folder."""
    return _SAFE_NAME.fullmatch(name) is not None


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes a manifest file, nights sorted by id: whole or not at all."""
    nights = [_known(night) for night in sorted(manifest.nights, key=lambda night: night.night_id)]
    sha256 = hashlib.sha256()
    for night in nights:
        sha256.update(json_line(night).encode())
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": manifest.config,
        "config_sha256": manifest.config_sha256,
        "rate_hz": _RATE_HZ,
        "nights_sha256": sha256.hexdigest(),
    }
    write_lines(path, chain([header], nights))


def _known(night: NightEntry) -> dict[str, Any]:
    """The fields of an entry, without lights that nobody marked: most nights, and all of older manifests."""
    return {name: value for name, value in vars(night).items() if name != "lights_s" or value != UNKNOWN_LIGHTS}


def write_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Writes JSON lines, dataclasses as objects: whole or not at all."""
    with whole_file(path) as half, half.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(map(json_line, values))


def json_line(value: dict[str, Any]) -> str:
    """A line of JSON; dataclasses in it become objects (`dataclasses.asdict` takes 20 times as long)."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=vars) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder (or a manifest file by its own path).

    >>> (night,) = read_manifest(Path("shards")).nights
    >>> night.night_id, night.n_epochs, night.stages[:6]
    ('sim-b-0000', 60, '000000')

    Raises:
      ValueError: missing, damaged (the line is named), of another version, changed since it was written, or with a
        shard name that is not a plain file name in this folder. A manifest of before there was a checksum is read.
    """
    path = Path(folder)
    path = path / MANIFEST if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path}: no such manifest; make one with `sleepmami prepare`")
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: damaged, not UTF-8 ({error}); run `sleepmami prepare` again") from error
    header = _json_object(path, 1, lines[0] if lines else "")
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}, line 1: not a manifest of prepared nights (format {header.get('format')!r})")
    if header.get("version") != VERSION or header.get("rate_hz") != _RATE_HZ:
        problem = f"{path}: format version {header.get('version')} with rates {header.get('rate_hz')}"
        raise ValueError(f"{problem}, expected version {VERSION} with {_RATE_HZ}; prepare the recordings again")
    nights = [_night(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for night_id, times in Counter(night.night_id for night in nights).items():
        if times > 1:
            raise ValueError(f"{path}: night {night_id} is there {times} times; expected once")
    if not isinstance(header.get("config"), dict) or not isinstance(header.get("config_sha256"), str):
        raise ValueError(f"{path}, line 1: no `config` and `config_sha256`; prepare the recordings again")
    own = hashlib.sha256("".join(f"{line}\n" for line in lines[1:]).encode()).hexdigest()
    if header.get("nights_sha256", own) != own:
        problem = f"{path}: its lines are not those that were written (checksum)"
        raise ValueError(f"{problem}; restore the file, or run `sleepmami prepare` again")
    return Manifest(header["config"], header["config_sha256"], tuple(nights))


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = f"{path}, line {number}: damaged, not JSON ({error}); run `sleepmami prepare` again"
        raise ValueError(problem) from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}, line {number}: expected a JSON object, got {type(value).__name__}")
    return value


def _night(path: Path, number: int, line: str) -> NightEntry:
    value = _json_object(path, number, line)
    try:
        return night_from_json(value)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: damaged or made by other code: {error}") from error


def night_from_json(value: dict[str, Any]) -> NightEntry:
    """A night's entry from its JSON object.

    Raises:
      ValueError: a field is missing, of another kind, or would lead a reader astray.
    """
    night = from_json(NightEntry, value)
    _check(night)
    return night


def _check(night: NightEntry) -> None:
    """Refuses what would lead the loader astray; a manifest may come from a stranger."""
    if not is_safe_name(night.night_id):
        raise ValueError(f"night id {night.night_id!r}: expected letters, digits, `.`, `_`, `-`")
    if not is_safe_name(night.shard) or not night.shard.endswith(SHARD_SUFFIX):
        raise ValueError(f"shard {night.shard!r} is not a plain `*{SHARD_SUFFIX}` file name in the manifest's folder")
    if night.split not in SPLITS:
        raise ValueError(f"split {night.split!r} of night {night.night_id}; expected one of {SPLITS}")
    if len(night.stages) != night.n_epochs:
        raise ValueError(f"night {night.night_id}: {len(night.stages)} stages for n_epochs {night.n_epochs}")
    if set(night.stages) - set(STAGE_SYMBOLS + "?"):
        raise ValueError(f"night {night.night_id}: stages may hold only {STAGE_SYMBOLS} and ?")
    if unknown := [kind for kind in night.scored if not re.fullmatch(OWN_KIND, kind)]:
        raise ValueError(f"night {night.night_id}: scored kinds {unknown} cannot be; expected words as {OWN_KIND}")
    if night.n_epochs != night.duration_s // EPOCH_S or min(night.shard_bytes, *night.event_counts.values(), 0) < 0:
        raise ValueError(f"night {night.night_id}: n_epochs, duration_s, shard_bytes and event_counts cannot all be")
    times = Counter(channel.slot for channel in night.channels)
    if wrong := [c.slot for c in night.channels if MODALITY_OF.get(c.slot) is not c.modality or times[c.slot] > 1]:
        raise ValueError(f"night {night.night_id}: channel {wrong[0]!r:.20} is none, of another kind, or there twice")
    for channel in night.channels:
        if problem := _channel_problem(channel, night.n_epochs):
            raise ValueError(f"night {night.night_id}, channel {channel.slot}: {problem}")


def _channel_problem(channel: ChannelEntry, n_epochs: int) -> str:
    """What no preparation can have measured; "" where all may be so."""
    numbers = (channel.source_rate_hz, channel.scale, channel.offset, channel.median or 0.0, channel.iqr or 0.0)
    if not all(map(math.isfinite, numbers)) or min(channel.source_rate_hz, channel.scale) <= 0:
        return "a number is not finite, or its rate or scale is not above 0"
    if (channel.median is None) != (channel.iqr is None):
        return "median without iqr, or iqr without median"
    reach = channel.scale * _FURTHEST_STEPS
    if abs((channel.median or channel.offset) - channel.offset) > reach:
        return "its median lies far outside what its scale and offset can store"
    if channel.iqr and not channel.scale / _FURTHEST_STEPS <= channel.iqr <= 2 * reach:
        return "its iqr is no spread of what its scale can store"
    if not 0 <= channel.good_share <= 1 or channel.clipped_samples < 0:
        return "good_share outside 0..1, or a negative count"
    ends = [0, *chain.from_iterable(channel.usable_epochs), n_epochs]
    # Runs are apart from each other and not empty; the first may begin at 0, the last end at the last epoch.
    if ends != sorted(ends) or len(set(ends[1:-1])) < len(ends) - 2:
        return "usable_epochs are no runs of epochs within the night"
    if channel.good_share > 0 and not channel.usable_epochs:
        return "good seconds, but no usable epoch"
    return ""
