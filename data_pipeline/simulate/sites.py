"""Two laboratories that record the same body differently: labels, references, rates, units and words."""

from dataclasses import dataclass

from data_pipeline.modalities import SLOTS, Modality
from data_pipeline.night import EventKind


@dataclass(frozen=True)
class Lead:
    """One signal of the file.

    Attributes:
      label: the label in the EDF header.
      slot: the canonical slot it carries, or "M1", "M2", "CHIN_REF" for a reference electrode.
      rate_hz: sampling rate in the file.
      unit: physical dimension in the header.
      half_range: physical maximum; the minimum is its negative (0 for a saturation).
      gain: file value for one µV, or for one usual breath; its sign is the polarity.
      band_hz: high-pass and low-pass of the amplifier; None leaves that side open.
    """

    label: str
    slot: str
    rate_hz: int
    unit: str
    half_range: float
    gain: float
    band_hz: tuple[float | None, float | None]


@dataclass(frozen=True)
class Site:
    """A laboratory.

    Attributes:
      name: its letter, in night names.
      mains_hz: line frequency.
      referential: electrodes stand against one common reference and a reader must subtract M1 or M2.
      embedded: annotations are in the EDF+ itself; else in a table beside it.
      leads: the signals in the order of the file.
      stage_words: what the scorers call the stages W, N1, N2, N3, REM.
      event_words: what the scorers call each kind of event.
      lights_words: what the technicians write when they turn the lights off and on.
      lights_s: when they do so in this night, in seconds; None where nobody wrote it down.
      cpap_from_s: when the person gets a mask with positive pressure in this night, a split night; None if never.
    """

    name: str
    mains_hz: int
    referential: bool
    embedded: bool
    leads: tuple[Lead, ...]
    stage_words: tuple[str, ...]
    event_words: dict[EventKind, str]
    lights_words: tuple[str, str]
    lights_s: tuple[float, float] | None = None
    cpap_from_s: float | None = None


def _leads(rows: list[tuple[str, str]], rate: int, unit: str, half_range: float, gain: float, band) -> list[Lead]:
    return [Lead(label, slot, rate, unit, half_range, gain, band) for label, slot in rows]


EVENT_WORDS = {
    EventKind.OBSTRUCTIVE_APNEA: ("Obstructive apnea", "obstructive apnoea"),
    EventKind.CENTRAL_APNEA: ("Central apnea", "central apnoea"),
    EventKind.MIXED_APNEA: ("Mixed apnea", "mixed apnoea"),
    EventKind.HYPOPNEA: ("Hypopnea", "hypopnoea"),
    EventKind.RERA: ("RERA", "rera"),
    EventKind.AROUSAL: ("Arousal", "micro-arousal"),
    EventKind.LIMB_MOVEMENT: ("Limb movement", "PLM"),
    EventKind.DESATURATION: ("SpO2 desaturation", "desat"),
    EventKind.SPINDLE: ("Spindle", "spindle"),
    EventKind.K_COMPLEX: ("K-complex", "K-complex"),
}
"""What the scorers of the laboratories a and b call each kind of event."""
_EEG = SLOTS[Modality.EEG]
_DERIVED = [(f"EEG {slot}-{'M2' if slot[1] in '13' else 'M1'}", slot) for slot in _EEG]

SITE_A = Site(
    name="a",
    mains_hz=60,
    referential=False,
    embedded=True,
    leads=(
        *_leads(_DERIVED, 200, "uV", 500.0, 1.0, (0.3, 35.0)),
        *_leads([("EOG E1-M2", "E1"), ("EOG E2-M1", "E2")], 200, "uV", 500.0, 1.0, (0.3, 35.0)),
        *_leads([("EMG Chin", "CHIN")], 200, "uV", 400.0, 1.0, (10.0, None)),
        *_leads([("EMG LAT", "LEG_L"), ("EMG RAT", "LEG_R")], 200, "uV", 400.0, 1.0, (10.0, None)),
        *_leads([("ECG", "ECG")], 200, "uV", 3200.0, 1.0, (0.3, 70.0)),
        *_leads([("Therm", "THERMISTOR")], 25, "uV", 1000.0, 120.0, (0.05, None)),
        *_leads([("NPress", "NASAL_PRESSURE")], 25, "uV", 1000.0, 90.0, (None, None)),
        *_leads([("Thor", "THORAX"), ("Abdo", "ABDOMEN")], 25, "uV", 1000.0, 150.0, (0.05, None)),
        *_leads([("SpO2", "SPO2")], 1, "%", 100.0, 1.0, (None, None)),
    ),
    stage_words=tuple(f"Sleep stage {stage}" for stage in ("W", "N1", "N2", "N3", "R")),
    event_words={kind: word for kind, (word, _) in EVENT_WORDS.items()},
    lights_words=("Lights off", "Lights on"),
)
"""Derived channels in µV, 60 Hz mains, narrow filters, annotations inside the EDF+, no patient fields."""

SITE_B = Site(
    name="b",
    mains_hz=50,
    referential=True,
    embedded=False,
    leads=(
        *_leads([(label, label) for label in (*_EEG, "M1", "M2")], 256, "uV", 3276.7, 1.0, (0.16, 70.0)),
        *_leads([("LOC", "E1"), ("ROC", "E2")], 256, "uV", 3276.7, 1.0, (0.16, 70.0)),
        *_leads([("Chin1", "CHIN"), ("Chin2", "CHIN_REF")], 128, "mV", 3.2767, 1e-3, (0.5, None)),
        *_leads([("LEG/L", "LEG_L"), ("LEG/R", "LEG_R")], 128, "mV", 1.0, 1e-3, (10.0, None)),
        *_leads([("EKG", "ECG")], 256, "mV", 5.0, 1e-3, (0.16, 100.0)),
        *_leads([("FLOW", "THERMISTOR")], 32, "V", 0.01, -8e-4, (0.03, None)),
        *_leads([("Nasal Pressure", "NASAL_PRESSURE")], 32, "V", 0.02, 1.6e-3, (None, None)),
        # Both belts are upside down, so paradox still means what it means.
        *_leads([("CHEST", "THORAX"), ("ABD", "ABDOMEN")], 32, "mV", 20.0, -2.2, (0.03, None)),
        *_leads([("SaO2", "SPO2")], 4, "%", 102.3, 1.0, (None, None)),
    ),
    stage_words=("W", "N1", "N2", "N3", "REM"),
    event_words={kind: word for kind, (_, word) in EVENT_WORDS.items()},
    lights_words=("lights out", "lights on"),
)
"""Electrodes against one reference, mV and V, 50 Hz mains, inverted breathing, annotations in a table."""

SITES = {site.name: site for site in (SITE_A, SITE_B)}
