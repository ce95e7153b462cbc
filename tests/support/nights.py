"""Small nights made in memory, and recordings that stand for them, for tests of preparation and of the loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipeline.annotations.terms import Meaning
from data_pipeline.modalities import RATE_HZ, SLOTS, Modality
from data_pipeline.night import (
    EPOCH_S,
    Channel,
    Demographics,
    Event,
    EventKind,
    Night,
    Quality,
    RecordingError,
    Scoring,
)

_AMPLITUDE = {"EEG": 20.0, "EOG": 30.0, "EMG": 8.0, "ECG": 120.0, "RESP": 0.4, "SPO2": 1.0}
SCORED = frozenset({"stages", "hypopnea", "obstructive_apnea", "central_apnea", "arousal"})


def random_night(
    seed: int,
    n_epochs: int = 6,
    slots: Sequence[str] | None = None,
    *,
    night_id: str | None = None,
    subject_id: str | None = None,
    site: str = "here",
    tail_s: int = 7,
    scored: bool = True,
    demographics: Demographics | None = None,
) -> Night:
    """A night of noise with a scorer's marks: reproducible, cheap, and no two alike.

    Args:
      seed: everything follows from it.
      n_epochs: whole epochs; `tail_s` more seconds come after.
      slots: channels to make, in any order; all when None.
      night_id, subject_id, site, demographics: as in `Night`; drawn from the seed when None.
      scored: whether it has stages, breathing events and arousals.
    """
    rng = np.random.default_rng(seed)
    duration_s = n_epochs * EPOCH_S + tail_s
    channels = []
    for modality, names in SLOTS.items():
        for slot in names:
            if slots is None or slot in slots:
                n_samples = duration_s * RATE_HZ[modality]
                samples = _AMPLITUDE[modality] * rng.standard_normal(n_samples) + rng.uniform(-5, 5)
                samples = np.clip(np.rint(samples + 95), 70, 100) if modality is Modality.SPO2 else samples
                quality = np.zeros(duration_s, np.uint8)
                quality[rng.integers(duration_s)] = Quality.FLAT
                channel = Channel(
                    slot,
                    modality,
                    samples.astype(np.float32),
                    quality,
                    f"{modality} {slot}",
                    "by name",
                    256.0,
                )
                channels.append(channel)
    kinds = (EventKind.HYPOPNEA, EventKind.OBSTRUCTIVE_APNEA, EventKind.AROUSAL, EventKind.CENTRAL_APNEA)
    onsets = np.sort(rng.uniform(0, max(duration_s - 30, 1), n_epochs))
    events = tuple(
        Event(kinds[k % len(kinds)], round(float(t), 2), round(float(rng.uniform(3, 25)), 2), "by hand", "1A")
        for k, t in enumerate(onsets)
    )
    scoring = Scoring(rng.integers(-1, 5, n_epochs).astype(np.int8), events, SCORED)
    night_id = night_id or f"night{seed}"
    return Night(
        night_id=night_id,
        subject_id=subject_id or night_id,
        site=site,
        duration_s=duration_s,
        channels=tuple(channels),
        scoring=scoring if scored else None,
        demographics=demographics or Demographics(float(rng.integers(20, 80)), "FM"[seed % 2], 25.5),
        notes=("made for a test",),
    )


def write_recordings(folder: Path, seeds: Sequence[int]) -> Path:
    """One file a seed that `load_random_night` reads; "bad" instead of a number is a recording it refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / f"n{seed}.edf").write_text(f"seed {seed}")
    return folder


def load_random_night(
    recording: Path,
    scoring: Sequence[Path] = (),
    *,
    night_id: str,
    subject_id: str,
    site: str,
    demographics: Demographics,
    scored: frozenset[str] | None = None,
    dialect: str | None = None,
    terms: Mapping[str, Meaning] | None = None,
    unusable: frozenset[str] = frozenset(),
) -> Night:
    """Stands for `data_pipeline.load.load_night` where the reading of files is not what is tested."""
    word = recording.read_text().split()[-1]
    if word == "bad":
        raise RecordingError(recording, "not a recording; expected a seed")
    if word == "bug":
        raise LookupError("nobody foresaw this")
    return random_night(int(word), 4 + int(word) % 3, night_id=night_id, subject_id=subject_id, site=site)


def files(folder: Path) -> dict[str, bytes]:
    """What a run makes; `sources.jsonl` only remembers when the sources were touched."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "sources.jsonl"}
