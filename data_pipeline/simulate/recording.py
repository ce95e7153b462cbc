"""One body seen by one laboratory: physiology, faults, references, amplifier filters, and 16-bit numbers."""

import numpy as np
from edfio import EdfSignal
from scipy import signal

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.simulate.artefacts import Artefact, add_electric, add_to_breathing, add_to_spo2
from data_pipeline.simulate.body import make_chin
from data_pipeline.simulate.breathing import make_breathing
from data_pipeline.simulate.eeg import make_eeg
from data_pipeline.simulate.eyes import draw_eyes, make_eog
from data_pipeline.simulate.heart import make_ecg, make_heart_beats
from data_pipeline.simulate.legs import make_legs
from data_pipeline.simulate.noise import block_frequencies_hz, colour, white_spectrum
from data_pipeline.simulate.oximeter import displayed
from data_pipeline.simulate.person import Person
from data_pipeline.simulate.sites import Lead, Site
from data_pipeline.simulate.timing import TrueEvent

DIGITAL_MAX = 32767
REFERENCE_UV = 18.0  # RMS of what the common reference adds to every electrode; assumed
BREATHING_RATES_HZ = (16, 32)  # breathing is made at the rate of its fastest lead, within these
LEAK_RATE_HZ = 128  # of the heart that no ECG records, only others pick up
CHIN_ECG_UV = (0.0, 15.0)  # R wave that reaches the chin's; assumed
LEG_ECG_UV = (0.0, 8.0)  # R wave that reaches a leg's electrodes; assumed, small over so short a distance
MASTOID_UV = 5.0  # RMS of what a mastoid picks up by itself; assumed


def record(
    rng: np.random.Generator,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    artefacts: list[Artefact],
    site: Site,
    *,
    variety: float,
) -> list[EdfSignal]:
    """Every lead of a site, filtered and quantised: n_epochs * 30 seconds each, in the order of `site.leads`.

    `person`, `stages` ((n_epochs,) int8), `events` and `artefacts` are the truth of the night.
    """
    recorder = _Recorder(rng, site, artefacts, len(stages) * EPOCH_S)
    # One kind of signal after the other: those of a whole night at once are most of a gigabyte.
    breath_times_s = _record_breathing(recorder, person, stages, events, variety)
    beats_s = make_heart_beats(rng, person, stages, events, breath_times_s, variety=variety)
    ecg = _record_heart(recorder, person, beats_s, breath_times_s, variety)
    _record_legs(recorder, person, stages, events, ecg, variety)
    references = {}
    if recorder.head_rate_hz:
        leak = ecg * np.float32(person.ecg_leak_uv / person.ecg_r_uv)
        leak = _at_rate(leak, recorder.n_seconds, recorder.head_rate_hz)
        if site.referential:
            references = _references(rng, stages, leak, recorder.head_rate_hz)
    for slot in filter(recorder.has, references):
        recorder.finish(slot, references[slot])
    if recorder.has("CHIN"):
        _record_chin(recorder, person, stages, events, ecg, references, variety)
    if recorder.head_rate_hz:
        _record_head(recorder, person, stages, events, leak, references, variety)
    return [recorder.done[lead.slot] for lead in site.leads]


class _Recorder:
    """A laboratory's amplifiers and faults, and what they have recorded so far."""

    def __init__(self, rng: np.random.Generator, site: Site, artefacts: list[Artefact], n_seconds: int):
        self.rng, self.site, self.artefacts, self.n_seconds = rng, site, artefacts, n_seconds
        self.done: dict[str, EdfSignal] = {}
        self._leads = {lead.slot: lead for lead in site.leads}
        head = (self._leads.get(slot) for slot in (*SLOTS[Modality.EEG], *SLOTS[Modality.EOG]))
        self.head_rate_hz = next((lead.rate_hz for lead in head if lead), None)
        # Reserved before anything else, so that what is freed later leaves no holes between them in memory.
        self._digital = {slot: np.empty(n_seconds * lead.rate_hz, dtype=np.int16) for slot, lead in self._leads.items()}

    def has(self, slot: str) -> bool:
        return slot in self._leads

    def rate_hz(self, slot: str) -> int:
        return self._leads[slot].rate_hz

    def disturb(self, slot: str, samples: np.ndarray) -> np.ndarray:
        """Adds the faults of an electrode, in place."""
        add_electric(self.rng, samples, slot, self.artefacts, self.site.mains_hz, self.rate_hz(slot))
        return samples

    def finish(self, slot: str, samples: np.ndarray) -> None:
        self.done[slot] = _digitise(samples, self._leads[slot], self._digital[slot])


def _record_breathing(
    recorder: _Recorder, person: Person, stages: np.ndarray, events: list[TrueEvent], variety: float
) -> np.ndarray:
    """Airflow, belts and SpO2; returns when the breaths begin, in seconds."""
    rng, site, n_seconds = recorder.rng, recorder.site, recorder.n_seconds
    # A breath has next to nothing above 8 Hz, whatever the recorder's rate.
    fastest = max((recorder.rate_hz(slot) for slot in SLOTS[Modality.RESP] if recorder.has(slot)), default=0)
    rate_hz = int(np.clip(fastest, *BREATHING_RATES_HZ))
    breathing = make_breathing(rng, person, stages, events, rate_hz, variety=variety, cpap_from_s=site.cpap_from_s)
    for slot in filter(recorder.has, SLOTS[Modality.RESP]):
        samples = getattr(breathing, slot.lower())
        add_to_breathing(rng, samples, slot, recorder.artefacts, rate_hz)
        recorder.finish(slot, _at_rate(samples, n_seconds, recorder.rate_hz(slot)))
    if recorder.has("SPO2"):
        spo2 = displayed(rng, breathing.spo2_percent, variety)
        add_to_spo2(rng, spo2, recorder.artefacts)
        recorder.finish("SPO2", np.repeat(spo2, recorder.rate_hz("SPO2")))
    return breathing.breath_times_s


def _record_heart(
    recorder: _Recorder, person: Person, beats_s: np.ndarray, breath_times_s: np.ndarray, variety: float
) -> np.ndarray:
    """The ECG; returns it as the body makes it, (n,) float32 of the size of its largest wave, for other electrodes."""
    rng, n_seconds = recorder.rng, recorder.n_seconds
    rate_hz = recorder.rate_hz("ECG") if recorder.has("ECG") else recorder.head_rate_hz or LEAK_RATE_HZ
    ecg = make_ecg(rng, person, beats_s, breath_times_s, n_seconds, rate_hz, variety=variety)
    clean = ecg.copy()
    if recorder.has("ECG"):
        recorder.finish("ECG", recorder.disturb("ECG", ecg))
    return clean


def _record_legs(
    recorder: _Recorder, person: Person, stages: np.ndarray, events: list[TrueEvent], ecg: np.ndarray, variety: float
) -> None:
    slots = [slot for slot in ("LEG_L", "LEG_R") if recorder.has(slot)]
    if not slots:
        return
    rate_hz = recorder.rate_hz(slots[0])
    made = make_legs(recorder.rng, person, stages, events, rate_hz, variety=variety)
    legs = dict(zip(("LEG_L", "LEG_R"), made, strict=True))
    for slot in slots:
        if variety > 0:
            leak_uv = variety * recorder.rng.uniform(*LEG_ECG_UV)
            legs[slot] += _at_rate(ecg * np.float32(leak_uv / person.ecg_r_uv), recorder.n_seconds, rate_hz)
        recorder.finish(slot, recorder.disturb(slot, legs[slot]))


def _record_chin(
    recorder: _Recorder,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    ecg: np.ndarray,
    references: dict[str, np.ndarray],
    variety: float,
) -> None:
    rate_hz = recorder.rate_hz("CHIN")
    chin = make_chin(recorder.rng, stages, events, rate_hz, variety=variety)
    if variety > 0:
        leak_uv = variety * recorder.rng.uniform(*CHIN_ECG_UV)
        chin += _at_rate(ecg * np.float32(leak_uv / person.ecg_r_uv), recorder.n_seconds, rate_hz)
    recorder.disturb("CHIN", chin)
    if references:
        # The chin amplifier is slower; the reference has next to nothing above its Nyquist frequency.
        chin_reference = _at_rate(references["M1"], recorder.n_seconds, rate_hz)
        chin += chin_reference
        recorder.finish("CHIN_REF", chin_reference)
    recorder.finish("CHIN", chin)


def _record_head(
    recorder: _Recorder,
    person: Person,
    stages: np.ndarray,
    events: list[TrueEvent],
    leak: np.ndarray,
    references: dict[str, np.ndarray],
    variety: float,
) -> None:
    """EEG and EOG, each with the `leak` of the ECG, and against the common reference where there is one."""
    rng, rate_hz = recorder.rng, recorder.head_rate_hz
    eyes = draw_eyes(rng, person.head, stages, rate_hz, variety=variety) if variety > 0 else None
    eeg = make_eeg(rng, person, stages, events, rate_hz, eyes, variety=variety)
    eog = make_eog(rng, stages, eeg, rate_hz, eyes, variety=variety)
    waves = dict(zip((*SLOTS[Modality.EEG], *SLOTS[Modality.EOG]), (*eeg, *eog), strict=True))
    del eeg, eog
    while waves:  # each is let go as soon as it is finished: eight of them are most of the memory
        slot, samples = waves.popitem()
        if not recorder.has(slot):
            continue
        samples += leak
        recorder.disturb(slot, samples)
        if references:
            samples += references["M2" if slot[-1] in "13" else "M1"]
        recorder.finish(slot, samples)


def _at_rate(samples: np.ndarray, n_seconds: int, rate_hz: int) -> np.ndarray:
    """(n_seconds * rate_hz,) float32: a slow signal read off at another rate."""
    n = n_seconds * rate_hz
    if len(samples) == n:
        return samples
    return np.interp(np.arange(n) * (len(samples) / n), np.arange(len(samples)), samples).astype(np.float32)


def _references(rng: np.random.Generator, stages: np.ndarray, leak: np.ndarray, rate_hz: int) -> dict[str, np.ndarray]:
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
        physical_range, digital_range = (0.0, lead.half_range), (0, round(lead.half_range * 10 / lead.gain))
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
