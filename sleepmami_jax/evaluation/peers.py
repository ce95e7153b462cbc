"""Other people's stagers on the same nights, each only where it is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipeline.night import STAGES, Channel, Night
from sleepmami_jax.evaluation.nights import ScoredNight
from sleepmami_jax.metrics.people import intervals, known, over_people
from sleepmami_jax.metrics.staging import agreement_of, confusions, staging_metrics

YASA_EEG = ("C4", "C3", "F4", "F3", "O2", "O1")
"""YASA was trained on a central EEG (Vallat and Walker, eLife 2021); where there is none the nearest is given."""
YASA_EOG, YASA_EMG = ("E1", "E2"), ("CHIN",)
_SHORTEST_EPOCHS = 10
"""YASA smooths over minutes and refuses what is shorter than five."""


def yasa_stages(night: Night) -> np.ndarray:
    """(E,) codes by `yasa.SleepStaging` (0.7 or later); -1 without an EEG, or in less than five minutes.

    It gets one EEG, one EOG and the chin where there are, in volts at the rates at which they are kept, and age and
    sex where both are known.
    """
    import yasa

    found = {channel.slot: channel for channel in night.channels}
    eeg, eog, emg = (
        next((found[slot] for slot in slots if slot in found), None) for slots in (YASA_EEG, YASA_EOG, YASA_EMG)
    )
    stages, person = np.full(night.n_epochs, -1, np.int8), night.demographics
    if eeg is None or night.n_epochs < _SHORTEST_EPOCHS:
        return stages
    staging = yasa.SleepStaging(
        _raw([channel for channel in (eeg, eog, emg) if channel is not None]),
        eeg.slot,
        eog_name=eog and eog.slot,
        emg_name=emg and emg.slot,
        metadata={"age": int(person.age_years), "male": person.sex == "M"} if person.age_years and person.sex else None,
    )
    columns = ["WAKE" if stage == "W" else stage for stage in STAGES]
    said = staging.predict().proba[columns].to_numpy().argmax(axis=1)[: night.n_epochs]
    stages[: len(said)] = said
    return stages


def _raw(channels: Sequence[Channel]) -> Any:
    """`mne.io.Raw` of channels of one rate, in volts; what was not recorded is nothing."""
    import mne

    volts = np.stack([np.nan_to_num(channel.samples).astype(np.float64) * 1e-6 for channel in channels])
    kinds = ["eeg" if channel.slot in YASA_EEG else str(channel.modality).lower() for channel in channels]
    info = mne.create_info([channel.slot for channel in channels], channels[0].modality.facts.rate_hz, kinds)
    return mne.io.RawArray(volts, info, verbose=False)


PEERS: Mapping[str, Callable[[Night], np.ndarray]] = {"yasa": yasa_stages}
"""Name of the package on PyPI -> what it says of a night's stages."""


def check_installed(names: Sequence[str]) -> None:
    """Raises ValueError for a peer that is not known or not installed, and says how to install it."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"{name!r} is no peer; there are {', '.join(PEERS)}")
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"{name} is not installed; `pip install {name}`, or leave out --beside {name}")


def measure_peer(name: str, nights: Sequence[ScoredNight], tick: Callable[[], Any]) -> dict[str, Any]:
    """A peer on the epochs that people and model staged too: `staging_metrics`, `over_people`, and `difference`.

    `difference` is model less peer on epochs that all three staged: kappa, macro_f1, accuracy, each with its interval.
    """
    version = importlib.metadata.version(name)
    human, ours, theirs = [], [], []
    for night in nights:
        said = PEERS[name](night.read())
        theirs.append(np.where(night.model_stages >= 0, said, np.int8(-1)))
        ours.append(np.where(said >= 0, night.model_stages, np.int8(-1)))
        human.append(night.human_stages)
        tick()
    people = [night.entry.subject_id for night in nights]
    rows, own_rows = confusions(human, theirs), confusions(human, ours)
    if not rows.any():
        raise ValueError(f"{name} could stage no epoch of {len(nights)} nights: it needs an EEG and five minutes")
    width = rows.shape[1]

    def difference(sums: np.ndarray) -> dict[str, np.ndarray]:
        peer, model = agreement_of(sums[..., :width]), agreement_of(sums[..., width:])
        return {name: model[name] - peer[name] for name in ("kappa", "macro_f1", "accuracy")}

    both = np.hstack([rows, own_rows])
    between = {key: known(value) for key, value in difference(both.sum(axis=0)).items()}
    return (
        {"version": version}
        | staging_metrics(human, theirs)
        | over_people(rows, people, agreement_of)
        | {"difference": between | {"interval": intervals(both, people, difference)}}
    )
