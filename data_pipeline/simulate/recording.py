"""One body seen by one laboratory: physiology, faults, references, amplifier filters, and 16-bit numbers."""

from __future__ import annotations

import numpy as np
from edfio import EdfSignal
from scipy import signal

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.artefacts import Artefact, add_electric, add_to_breathing, add_to_spo2
from data_pipeline.simulate.body import make_chin, make_ecg, make_eog, make_heart_beats, make_legs
from data_pipeline.simulate.breathing import make_breathing
from data_pipeline.simulate.eeg import make_eeg
from data_pipeline.simulate.noise import block_frequencies_hz, colour, white_spectrum
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.sites import Lead, Site
from data_pipeline.simulate.timing import TrueEvent

DIGITAL_MAX = 32767
REFERENCE_UV = 18.0  # RMS of what the common reference adds to every electrode; assumed
MASTOID_UV = 5.0  # RMS of what a mastoid picks up by itself; assumed


def record(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    artefacts: list[Artefact],
    site: Site,
) -> list[EdfSignal]:
    """Makes every lead of a site, filtered and quantised.

    Args:
      rng: the night's generator.
      person, stages, events, artefacts: the truth of the night; stages is (n_epochs,) int8.
      site: the laboratory.

    Returns:
      The signals in the order of `site.leads`, n_epochs * 30 seconds each.
    """
    leads = {lead.slot: lead for lead in site.leads}
    done: dict[str, EdfSignal] = {}
    n_seconds = len(stages) * EPOCH_S

    # Reserved before anything else, so that what is freed later leaves no holes between them in memory.
    digital = {slot: np.empty(n_seconds * lead.rate_hz, dtype=np.int16) for slot, lead in leads.items()}

    def finish(slot: str, samples: np.ndarray) -> None:
        done[slot] = _digitise(samples, leads[slot], digital[slot])

    def disturb(slot: str, samples: np.ndarray) -> np.ndarray:
        add_electric(rng, samples, slot, artefacts, site.mains_hz, leads[slot].rate_hz)
        return samples

    breathing = make_breathing(rng, person, stages, events, leads["THERMISTOR"].rate_hz)
    for slot in SLOTS[Modality.RESP]:
        samples = getattr(breathing, slot.lower())
        add_to_breathing(rng, samples, slot, artefacts, leads[slot].rate_hz)
        finish(slot, samples)
    spo2 = np.rint(breathing.spo2_percent)
    add_to_spo2(spo2, artefacts)
    finish("SPO2", np.repeat(spo2, leads["SPO2"].rate_hz))

    beats_s = make_heart_beats(rng, person, stages, events, breathing.breath_times_s)
    del breathing, spo2, samples
    rate_hz = leads["ECG"].rate_hz
    ecg = make_ecg(rng, person, beats_s, n_seconds, rate_hz)
    leak = ecg * np.float32(person.ecg_leak_uv / person.ecg_r_uv)
    finish("ECG", disturb("ECG", ecg))
    del ecg

    legs = make_legs(rng, stages, events, leads["LEG_L"].rate_hz)
    for slot, samples in zip(("LEG_L", "LEG_R"), legs, strict=True):
        finish(slot, disturb(slot, samples))
    del legs, samples

    references = _references(rng, stages, leak, rate_hz) if site.referential else {}
    for slot, samples in references.items():
        finish(slot, samples)
    chin = disturb("CHIN", make_chin(rng, stages, events, leads["CHIN"].rate_hz))
    if references:
        # The chin amplifier is slower; the reference has next to nothing above its Nyquist frequency.
        chin_reference = references["M1"][:: rate_hz // leads["CHIN"].rate_hz]
        chin += chin_reference
        finish("CHIN_REF", chin_reference)
    finish("CHIN", chin)
    del chin

    eeg = make_eeg(rng, person, stages, events, rate_hz)
    eog = make_eog(rng, stages, eeg, rate_hz)
    waves = dict(zip((*SLOTS[Modality.EEG], *SLOTS[Modality.EOG]), (*eeg, *eog), strict=True))
    del eeg, eog
    while waves:  # each is let go as soon as it is finished: eight of them are most of the memory
        slot, samples = waves.popitem()
        samples += leak
        disturb(slot, samples)
        if references:
            samples += references["M2" if slot[-1] in "13" else "M1"]
        finish(slot, samples)
    return [done[lead.slot] for lead in site.leads]


def _references(
    rng: np.random.Generator, stages: np.ndarray, leak: np.ndarray, rate_hz: int
) -> dict[str, np.ndarray]:
    """Both mastoids against the common reference, (n,) float32 µV: mostly the reference's own activity."""
    frequencies = block_frequencies_hz(rate_hz)
    shape = (1 / np.maximum(frequencies, 0.7)).astype(np.float32)
    shape[0] = 0
    shape /= np.sqrt((shape**2).sum() * (frequencies[1] - frequencies[0]))

    def activity(rms_uv: float) -> np.ndarray:
        return colour(white_spectrum(rng, len(stages), rate_hz), shape * np.float32(rms_uv), rate_hz)

    common = activity(REFERENCE_UV) + 2 * leak
    return {mastoid: common + activity(MASTOID_UV) for mastoid in ("M1", "M2")}


def _digitise(samples: np.ndarray, lead: Lead, digital: np.ndarray) -> EdfSignal:
    """Filters, scales and rounds into the int16 `digital`; beyond the range it clips, as amplifiers do."""
    filtered = _amplifier(samples, lead)
    if lead.slot == "SPO2":
        physical_range, digital_range = (0.0, lead.half_range), (0, round(lead.half_range * 10))
    else:
        physical_range, digital_range = (-lead.half_range, lead.half_range), (-DIGITAL_MAX, DIGITAL_MAX)
    scaled = filtered * np.float32(lead.gain * digital_range[1] / lead.half_range)
    np.rint(scaled, out=scaled)
    np.clip(scaled, *digital_range, out=scaled)
    np.copyto(digital, scaled, casting="unsafe")
    high, low = lead.band_hz
    filters = [f"{name}:{hz}Hz" for name, hz in (("HP", high), ("LP", low)) if hz is not None]
    return EdfSignal.from_digital(
        digital,
        lead.rate_hz,
        label=lead.label,
        physical_dimension=lead.unit,
        physical_range=physical_range,
        digital_range=digital_range,
        prefiltering=" ".join(filters),
    )


def _amplifier(samples: np.ndarray, lead: Lead) -> np.ndarray:
    high, low = lead.band_hz
    if high is None and low is None:
        return samples
    if high is None:
        sos = signal.butter(2, low, "lowpass", fs=lead.rate_hz, output="sos")
    elif low is None:
        sos = signal.butter(1, high, "highpass", fs=lead.rate_hz, output="sos")
    else:
        sos = signal.butter(1, (high, low), "bandpass", fs=lead.rate_hz, output="sos")
    return signal.sosfilt(sos.astype(np.float32), samples)
