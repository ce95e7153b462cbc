"""DREAMS spindle excerpts, ucddb018 and simulated nights as nights of one EEG channel, every expert apart."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipeline.load import load_night
from data_pipeline.modalities import Modality
from data_pipeline.night import EPOCH_S, STAGES, UNKNOWN_STAGE, Channel, Event, EventKind, Night
from data_pipeline.prepare.run import PrepareConfig, prepare
from data_pipeline.shards.epochs import Epoch, PackedSignals
from sleepmami_jax.data.source import PreparedFolder

EXCERPTS = (1, 2, 3, 4)
SCORED_S = {"expert 1": 1000.0, "expert 2": 1800.0}
"""Expert 1 marked nothing after 1000 s in any excerpt: later silence is not absence of spindles."""
TRAIN_ALL = PrepareConfig(val_share=0, test_share=0)


@dataclass(frozen=True)
class EegNight:
    """A recording with one EEG channel and what people said of it.

    Attributes:
      name: for the table.
      night: its only channel is the EEG, 128 Hz.
      stages: (E,) codes of `STAGES`; `UNKNOWN_STAGE` where an epoch of 30 s holds two stages.
      spindles: marks by expert, all of them; each expert is to be believed up to `SCORED_S` alone.
    """

    name: str
    night: Night
    stages: np.ndarray
    spindles: dict[str, list[Event]]

    @property
    def eeg(self) -> np.ndarray:
        """(128 * duration_s,) float32, in uV where the file says so."""
        return self.night.channels[0].samples


def read_dreams(psg: Path) -> list[EegNight]:
    """The four excerpts. Scored in epochs of 20 s: of 30-s epochs, those that hold two stages are unknown."""
    folder, nights = psg / "dreams_spindles", []
    for n in EXCERPTS:
        night = load_night(folder / f"excerpt{n}.edf")
        spindles = {
            expert: read_spindles(folder / f"excerpt{n}_spindles_{expert.replace(' ', '')}.csv") for expert in SCORED_S
        }
        stages = read_stages(folder / f"excerpt{n}_hypnogram.csv", night.n_epochs)
        nights.append(EegNight(f"excerpt {n}", night, stages, spindles))
    return nights


def read_ucddb(psg: Path) -> EegNight:
    """The whole night, stages only."""
    night = load_night(psg / "ucddb018" / "ucddb018_eeg.edf")
    stages = read_stages(psg / "ucddb018" / "hypnogram.csv", night.n_epochs)
    return EegNight("ucddb018", night, stages, {})


def read_simulated(folder: Path, slot: str = "C4") -> list[EegNight]:
    """Nights of a prepared folder with one EEG channel of each, as if nothing else had been recorded."""
    prepared, nights = PreparedFolder.open(folder), []
    for i, entry in enumerate(prepared.manifest.nights):
        stored = [_eeg(epoch) for epoch in prepared.epochs(i, 0, entry.n_epochs)]
        row = stored[0].slots.index(slot)
        known = next(c for c in entry.channels if c.slot == slot)
        channel = Channel(
            slot=slot,
            modality=Modality.EEG,
            samples=np.concatenate([s.physical()[row] for s in stored]),
            quality=np.concatenate([s.quality[row] for s in stored]),
            label=known.label,
            reason=known.reason,
            source_rate_hz=known.source_rate_hz,
        )
        night = Night(entry.night_id, entry.subject_id, entry.site, entry.n_epochs * EPOCH_S, (channel,))
        nights.append(EegNight(entry.night_id, night, entry.stage_codes, {}))
    return nights


def _eeg(epoch: Epoch) -> PackedSignals:
    return next(signals for signals in epoch.signals if signals.modality is Modality.EEG)


def read_stages(path: Path, n_epochs: int) -> np.ndarray:
    """(n_epochs,) int8 codes; `UNKNOWN_STAGE` unless all 30 s are one stage."""
    seconds = np.full(n_epochs * EPOCH_S, UNKNOWN_STAGE, np.int8)
    for row in _rows(path):
        onset_s, duration_s = round(float(row["onset_s"])), round(float(row["duration_s"]))
        seconds[onset_s : onset_s + duration_s] = STAGES.index(row["stage"])
    epochs = seconds.reshape(n_epochs, EPOCH_S)
    return np.where((epochs == epochs[:, :1]).all(1), epochs[:, 0], np.int8(UNKNOWN_STAGE))


def read_spindles(path: Path) -> list[Event]:
    return [
        Event(EventKind.SPINDLE, float(row["onset_s"]), float(row["duration_s"]), source=path.stem)
        for row in _rows(path)
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def prepare_real(psg: Path, out: Path) -> dict[str, Path]:
    """Prepared folders for pretraining, by name. Excerpt 3 goes in once, with all of its channels."""
    names = ("excerpt1", "excerpt2", "excerpt3_full", "excerpt4")
    recordings = {
        "dreams": [psg / "dreams_spindles" / f"{name}.edf" for name in names],
        "ucddb018": [psg / "ucddb018" / "ucddb018_eeg.edf"],
    }
    for name, paths in recordings.items():
        prepare(paths, out / name, config=TRAIN_ALL)
    return {name: out / name for name in recordings}
