"""The kinds of signal: one record each, of everything that depends on the kind.

To add one: a name in `Modality`, its record in `MODALITIES`, and the words of its labels (`montage.labels`). It is then
found, filtered, judged, stored and read back. Without a `token_s` it is a side channel: kept where a montage file asks
for it (`side`), fed to a model only if the model's config has it, and never said to be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any


class Modality(StrEnum):
    """The kinds of signal. The order is that of channels in a night and of tokens in the model."""

    EEG = "EEG"
    EOG = "EOG"
    EMG = "EMG"
    ECG = "ECG"
    RESP = "RESP"
    SPO2 = "SPO2"
    PPG = "PPG"
    SNORE = "SNORE"
    POSITION = "POSITION"

    @property
    def facts(self) -> Facts:
        return MODALITIES[self]


@dataclass(frozen=True)
class Voltage:
    """What electrodes on the skin give, in microvolts.

    Attributes:
      typical_uv: typical amplitude, 1.4826 * median |x| after the high-pass.
      plausible_uv: typical amplitudes that a stated unit can be believed with.
      largest_uv: the largest |amplitude| that a body makes.
      hum_uv: hum (peak) that a good electrode may have whatever the ratio to the signal: a sleeping muscle is so quiet
        that any hum is ten times it. 30 uV is the most that skin below 50 kOhm picks up; in the EMG, 5 % of 80 uV stays
        below the 8 uV of a limb movement (AASM manual); an R wave is about 1 mV.
      open_lead_uv: hum (peak) that only an electrode without skin picks up, three times the most of a good one.
    """

    typical_uv: float
    plausible_uv: tuple[float, float]
    largest_uv: float
    hum_uv: float
    open_lead_uv: float


@dataclass(frozen=True)
class Facts:
    """What is true of a kind of signal.

    Attributes:
      slots: its canonical channels.
      rate_hz: sampling rate after preparation; a second is a whole number of samples.
      unit: of the samples; "" where sensors are not calibrated across laboratories.
      least_hz: recorded slower than this, nothing of its band remains: a 1 Hz EMG is an envelope, not an EMG.
      token_s: seconds in one token, unless a model's config says otherwise; None for a side channel.
      missing: what a reader loses without it.
      voltage: its amplitudes, where electrodes on the skin record it: its unit is known, its polarity matters, the
        mains may swamp it. None for other sensors.
      on_head: whether the electrodes sit on the head: they have mastoids as references and the bands of the EEG, and
        their power falls with frequency, so that white noise is an open lead.
      high_pass_hz: corner (-6 dB) of the high-pass; None for a value, which is held and never filtered, which does not
        hum, and which may stand still or at the end of its range.
      margin_s: seconds on either side that a filtered sample depends on: 2.4 / corner, more where the low-pass rings
        longer.
      flat_s: seconds without movement that make it flat; None where that says nothing.
      cut_share: share of a second at an amplifier's end from which it counts as clipped. 0 is any.
      largest_typical: the largest |amplitude| as a multiple of the typical one, where the scale is unknown; None where
        silence is typical and says nothing of the loudest.
      limits: smallest and largest value that means something; None where each does.
      is_code: whether a value is a recorder's own code, to be kept as it is, neither bridged nor scaled.
      stored: reach and offset of the stored int16, where they do not depend on the night.
      normalised_by: centre and spread; None for those of the night's channel.
      clip: where normalised samples are cut.
    """

    slots: tuple[str, ...]
    rate_hz: int
    unit: str
    least_hz: int | Fraction
    token_s: int | None = None
    missing: str = ""
    voltage: Voltage | None = None
    on_head: bool = False
    high_pass_hz: float | None = None
    margin_s: int = 1
    flat_s: int | None = None
    cut_share: float = 0.0
    largest_typical: float | None = 60.0
    limits: tuple[float, float] | None = None
    is_code: bool = False
    stored: tuple[float, float] | None = None
    normalised_by: tuple[float, float] | None = None
    clip: float = 20.0

    @property
    def is_value(self) -> bool:
        return self.high_pass_hz is None

    @property
    def is_side(self) -> bool:
        return self.token_s is None


_SKIN: dict[str, Any] = {"rate_hz": 128, "unit": "uV", "least_hz": 50}
"""What all electrodes have in common."""
_HEAD = _SKIN | {"on_head": True, "high_pass_hz": 0.3, "margin_s": 8, "flat_s": 1}
MODALITIES = {
    Modality.EEG: Facts(
        slots=("F3", "F4", "C3", "C4", "O1", "O2"),  # that electrode against the opposite mastoid, if it is there
        **_HEAD,
        token_s=1,
        missing="no arousals; stages from other signals",
        voltage=Voltage(15.0, (0.02, 3000.0), largest_uv=1000.0, hum_uv=30.0, open_lead_uv=100.0),
    ),
    Modality.EOG: Facts(
        slots=("E1", "E2"),
        **_HEAD,
        token_s=2,
        missing="REM and N1 harder to tell apart",
        voltage=Voltage(25.0, (0.02, 3000.0), largest_uv=2000.0, hum_uv=30.0, open_lead_uv=100.0),
    ),
    Modality.EMG: Facts(
        slots=("CHIN", "LEG_L", "LEG_R"),
        **_SKIN,
        token_s=2,
        missing="REM harder to tell from wake and N1",
        voltage=Voltage(5.0, (0.005, 3000.0), largest_uv=5000.0, hum_uv=80.0, open_lead_uv=250.0),
        high_pass_hz=10.0,
        margin_s=4,
        flat_s=1,
    ),
    Modality.ECG: Facts(
        slots=("ECG",),
        **_SKIN,
        token_s=5,
        missing="no pulse for stages and breathing events",
        voltage=Voltage(60.0, (0.5, 3000.0), largest_uv=20000.0, hum_uv=300.0, open_lead_uv=1000.0),
        high_pass_hz=0.5,
        margin_s=5,
        flat_s=2,
    ),
    Modality.RESP: Facts(
        slots=("THERMISTOR", "NASAL_PRESSURE", "THORAX", "ABDOMEN"),
        rate_hz=32,
        unit="",
        least_hz=4,
        token_s=2,
        missing="breathing events, if any, from the oximeter only",
        high_pass_hz=0.05,
        margin_s=48,
        flat_s=180,  # a belt may rest as long as an apnea lasts
        cut_share=0.5,  # a breath with its crest cut is still a breath
    ),
    Modality.SPO2: Facts(
        slots=("SPO2",),
        rate_hz=1,
        unit="%",
        least_hz=Fraction(1, 30),
        token_s=5,
        missing="no ODI, no T90; hypopneas without their desaturation",
        # Below is a probe off the finger. Readings in the forties do occur at the nadir of a long apnea, and it is the
        # nadirs that count; who cuts at 50, as PhysioZoo does (Levy et al. 2021), loses them. Makers state an accuracy
        # from 70 on. Half a per cent above 100 is how a file rounds its steps.
        limits=(40.0, 100.5),
        stored=(100.0, 50.0),  # a steady night with one desaturation has no spread to go by
        normalised_by=(95.0, 5.0),
        clip=10.0,
    ),
    Modality.PPG: Facts(
        slots=("PPG",),
        rate_hz=64,  # a pulse wave has nothing above 20 Hz
        unit="",
        least_hz=16,
        high_pass_hz=0.1,
        margin_s=24,
        flat_s=5,  # longer than recorders hold it to set their gain
    ),
    Modality.SNORE: Facts(
        slots=("SNORE",),
        rate_hz=128,
        unit="",
        least_hz=50,
        high_pass_hz=10.0,
        margin_s=4,
        largest_typical=None,  # silence is typical, and says nothing of the loudest
    ),
    # Which code is which position differs from recorder to recorder, so each is kept as it was written.
    Modality.POSITION: Facts(slots=("POSITION",), rate_hz=1, unit="", least_hz=Fraction(1, 30), is_code=True),
}
"""One record a modality."""

SLOTS = {m: facts.slots for m, facts in MODALITIES.items() if not facts.is_side}
"""The channels that a model sees, unless its config says otherwise."""
RATE_HZ = {m: facts.rate_hz for m, facts in MODALITIES.items()}
MODALITY_OF = {slot: m for m, facts in MODALITIES.items() for slot in facts.slots}
"""Slot -> its modality, for all canonical channels in their order."""
