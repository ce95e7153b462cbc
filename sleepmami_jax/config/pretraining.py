"""What can be set of pretraining: the objectives of both encoders, and what is done to their signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sleepmami_jax.config.ranges import (
    BelowOne,
    Chance,
    Checked,
    Count,
    MultipleOf16,
    Natural,
    Positive,
    Share,
    Weight,
    WithinEpoch,
)


@dataclass(frozen=True)
class Augmentation(Checked):
    """What is done to the signals of each example in training, anew whenever it comes; as it stands here, nothing.

    A channel that is hidden, or an epoch that is cut off, is one that was not recorded. What is in units that mean
    something, as SpO2 is, keeps its values.
    """

    equaliser_db: Weight = 0.0  # SD of a random curve over frequency in EEG, EOG, EMG, half of it a channel's own
    gain_db: Weight = 0.0  # SD of a channel's gain
    noise: Weight = 0.0  # white or pink, up to so many robust standard deviations of the channel's night
    flip: Chance = 0.0  # of another sign where it is arbitrary: RESP, ECG, EMG by channel, EOG all together
    drop_channel: Chance = 0.0  # of a channel to be hidden; one always stays
    only_eeg: Chance = 0.0  # of all to be hidden but one channel of the EEG, where there is one
    shortest_crop: Share = 1.0  # of its epochs that a window keeps; 1 is all of them


@dataclass(frozen=True)
class Masking(Checked):
    """What is hidden of an epoch and rebuilt: shares of the tokens of all channels of a modality, which add up.

    Time that is hidden in all channels asks for what comes before and after; a stretch of one channel, for what the
    others hold; single tokens, for both. The shares are those of SleepFM-2 (arXiv 2609.06849), the lengths are assumed.
    """

    time: BelowOne = 0.25  # hidden in all channels at once: not encoded at all, which is cheap
    time_s: WithinEpoch = 3.0  # about this long at a time, or as long as all that is hidden
    channel: BelowOne = 0.15  # hidden in one channel, whatever the others show
    channel_s: WithinEpoch = 15.0  # about this long at a time; 30: a channel is hidden whole
    token: BelowOne = 0.15  # single ones of single channels

    def __post_init__(self) -> None:
        super().__post_init__()
        together = self.time + self.channel + self.token
        self.expect(together < 1, "token", f"shares that are less than 1 together (here {together:g})")


@dataclass(frozen=True)
class MicroPretraining(Checked):
    """Masked autoencoding of tokens plus leave-one-modality-out contrast, on single epochs."""

    batch: Count = 32  # epochs a step, over all devices
    mask: Masking = Masking()
    drop_modality: Chance = 0.2  # chance that a modality is hidden whole
    spectral_weight: Weight = 1.0  # of log power in bands, of unit variance each; that of samples is 1
    teacher_weight: Weight = 0.0  # of tokens as the running average of the weights sees them, nothing hidden (data2vec)
    contrast: Literal["leave_one_out", "pairwise"] = "leave_one_out"  # or every pair, as in CLIP
    contrast_weight: Weight = 0.1
    contrast_keys: Natural = 0  # epochs that each is told apart from; 0: all of the batch, or of a part of it
    balance_weight: Weight = 0.01  # MoE load balance (Switch Transformer, eq. 4)
    router_z_weight: Weight = 0.001  # (ST-MoE, eq. 5)
    decoder_dim: MultipleOf16 = 48
    augment: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(self.augment.shortest_crop == 1, "augment.shortest_crop", "1, as an epoch cannot be cut")
        divides = not self.contrast_keys or self.batch % self.contrast_keys == 0
        self.expect(divides, "contrast_keys", f"a divisor of batch={self.batch}, or 0 for all of it")


@dataclass(frozen=True)
class KernelConfig(Checked):
    """DGCL: how alike two nights should be, by what is known of the two people.

    Each factor has a weight and, for age and BMI, the bandwidth of its Gaussian kernel. The paper does not publish
    these. Ours are half of what a generation (10 years) and a WHO weight class (5 kg/m2) would suggest: with kernels
    as wide as people are different, the target over a batch of some tens of nights is flat. `identity` is the weight
    of the kernel that is 1 only for two views of the same night: with the others at 0 the objective is NT-Xent
    (SimCLR). With `rule="class"` two people are alike (1) or not (0): of one sex, and within a bandwidth in age and in
    BMI, which is supervised contrast (SupCon; Khosla et al. 2020).
    """

    rule: Literal["soft", "class"] = "soft"
    age: Weight = 1.0
    age_years: Positive = 5.0
    bmi: Weight = 0.5
    bmi_kg_m2: Positive = 2.5
    sex: Weight = 0.25
    identity: Weight = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        some = any((self.age, self.bmi, self.sex, self.identity))
        self.expect(some, "identity", "more than 0 where age, bmi and sex weigh nothing")


@dataclass(frozen=True)
class MacroPretraining(Checked):
    """Demographic-guided contrastive learning (DGCL) of whole nights over frozen micro tokens."""

    batch: Count = 16  # nights a step, over all devices; each gives two views
    kernel: KernelConfig = KernelConfig()
    temperature: Positive = 0.1
    night_epochs: Count = 1152  # nights are padded or cut to this; 9.6 h
    crop: Share = 0.7  # shortest share of a night that a view keeps
    drop_modality: Chance = 0.2
    drop_epochs: BelowOne = 0.15
    freeze_micro: bool = True  # False trains both encoders from signals, many times slower
    balance_weight: Weight = 0.01  # of the Micro-Encoder's router, where it is trained
    router_z_weight: Weight = 0.001
