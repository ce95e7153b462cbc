"""The stages of a night: a clock of cycles, and within each cycle bouts of drawn length (semi-Markov).

A plain Markov chain gives geometric bouts and no cycles; real bouts are neither (Yang & Hursch 1973, Kemp
1986, Lo 2002). So the cycle says how much N3 and REM there is, bouts say how it is broken up, and wake
cuts through.
"""

from dataclasses import replace

import numpy as np

from data_pipeline.night import EPOCH_S, STAGES
from data_pipeline.simulate.person import Person

W, N1, N2, N3, REM = range(len(STAGES))
EPOCHS_PER_MIN = 60 // EPOCH_S

CYCLE_MIN = (80.0, 103.0, 102.0, 95.0, 90.0)  # first the shortest, median 96 over all (Cajochen 2024)
CYCLE_SD_MIN = 15.0  # assumed
REM_MIN = (11.0, 19.0, 24.0, 27.0, 28.0)  # widens through the night (Cajochen 2024); sizes assumed
REM_SD_MIN = 6.0  # assumed
REM_REFERENCE_PERCENT = 20.5  # what REM_MIN gives in a usual night (derived)
N3_SHARE = (0.46, 0.29, 0.16, 0.07, 0.02)  # by cycle; assumed, slow-wave activity halves per cycle
N3_REFERENCE_MIN = 330.0  # shares are of a whole night's N3 even when the recording is shorter (assumed)
N3_BOUT_MIN_YOUNG, N3_BOUT_MIN_OLD = 5.9, 2.0  # mean bout at 25 and 70 y (PMC4857208, 2016)
SKIPPED_FIRST_REM = 0.12  # of people below 35 y; assumed
WAKE_EXPONENT, WAKE_RANGE_MIN = 2.0, (0.5, 40.0)  # power law (Lo 2002); exponent set by WASO over 20–30 bouts
WAKE_WEIGHT = {N1: 2.0, N2: 1.0, N3: 0.2, REM: 0.7}  # where waking cuts in; assumed
WAKE_WEIGHT_REM_END = 12.0  # wake comes mostly just after REM; assumed

# Of varied nights; all assumed.
LONGEST_NIGHT_H = (8.0, 11.0)  # in bed, of a recording that goes on by day
LONG_WAKE_SHARE, LONG_WAKE_EPOCHS, LATE_RISE_SHARE = 0.4, (20, 200), 0.15
TONIGHT_LOG_SD = (0.4, 0.5, 0.4, 0.4, 0.2)  # of WASO, latency, N1, N3 and REM, from night to night
BAD_NIGHTS = {"insomnia": 0.12, "broken": 0.12, "light": 0.08, "deep": 0.08, "no rem": 0.03}
APNEA_N1_PER_AHI = 0.4  # % of sleep at most, beyond a person's usual share
NAP_H, NAP_SHARE = 3.0, 0.3  # shorter recordings may be naps without REM


def draw_hypnogram(rng: np.random.Generator, person: Person, n_epochs: int, *, variety: float) -> np.ndarray:
    """Draws the stages of a night with `n_epochs` epochs in bed: (n_epochs,) int8 codes, at least one epoch of W first.

    The person's traits set latency, WASO and the share of each stage. With `variety` there are bad nights, naps and
    nights with hours of wake around them too.
    """
    if variety == 0:
        return _night(rng, person, n_epochs)
    before, after = _wake_around(rng, n_epochs, variety)
    asleep = n_epochs - before - after
    person = _tonight(rng, person, asleep, variety)
    stages = np.concatenate([np.full(before, W, np.int8), _night(rng, person, asleep), np.full(after, W, np.int8)])
    if person.rem_percent == 0:
        stages[stages == REM] = N2
    return stages


def _wake_around(rng: np.random.Generator, n_epochs: int, variety: float) -> tuple[int, int]:
    """Epochs of wake before and after the night: the recorder runs long before some sleep, or all day."""
    spare = max(0, n_epochs - round(rng.uniform(*LONGEST_NIGHT_H) * 60 * EPOCHS_PER_MIN))
    before, after = np.rint(spare * np.diff([0, rng.random(), 1])).astype(int)
    most = n_epochs // 3
    if rng.random() < LONG_WAKE_SHARE * variety:
        before += min(int(rng.integers(*LONG_WAKE_EPOCHS)), max(0, most - before))
    if rng.random() < LATE_RISE_SHARE * variety:
        after += min(int(rng.integers(*LONG_WAKE_EPOCHS) / 2), max(0, most - after))
    return int(before), int(after)


def _tonight(rng: np.random.Generator, person: Person, n_epochs: int, variety: float) -> Person:
    """The person as this night goes: a usual one, a sleepless one, a broken one, a light one, or a nap."""
    spread = np.exp(variety * rng.normal(0, TONIGHT_LOG_SD, 5))
    waso, latency, n1, n3, rem = spread * [
        person.waso_min,
        person.sleep_latency_min,
        person.n1_percent,
        person.n3_percent,
        person.rem_percent,
    ]
    usual = 1 - variety * sum(BAD_NIGHTS.values())
    kind = rng.choice(["usual", *BAD_NIGHTS], p=[usual, *(variety * share for share in BAD_NIGHTS.values())])
    if kind == "insomnia":
        latency, waso = latency * rng.uniform(2, 7), waso * rng.uniform(1.5, 4)
    elif kind == "broken":
        n1, waso = n1 + rng.uniform(8, 30), waso * rng.uniform(1.2, 2.5)
    elif kind == "light":
        n3 = 0.0
    elif kind == "deep":
        n3 = max(n3, rng.uniform(22, 42))
    elif kind == "no rem":
        rem = 0.0
    n1 += variety * APNEA_N1_PER_AHI * person.ahi_per_h * rng.random()
    if n_epochs < NAP_H * 60 * EPOCHS_PER_MIN and rng.random() < NAP_SHARE * variety:
        rem, latency = 0.0, latency * 0.6
    return replace(
        person,
        waso_min=float(waso),
        sleep_latency_min=float(latency),
        n1_percent=float(min(n1, 55.0)),
        n3_percent=float(min(n3, 45.0)),
        rem_percent=float(min(rem, 35.0)),
    )


def _night(rng: np.random.Generator, person: Person, n_epochs: int) -> np.ndarray:
    """(n_epochs,) int8 from lights off to lights on."""
    latency = round(person.sleep_latency_min * EPOCHS_PER_MIN * np.exp(0.4 * rng.standard_normal()))
    latency = int(np.clip(latency, 1, max(1, n_epochs // 6)))
    waso = person.waso_min * EPOCHS_PER_MIN * n_epochs / 960 * np.exp(0.25 * rng.standard_normal())
    bouts = _wake_bouts(rng, int(min(waso, 0.45 * (n_epochs - latency))))
    n_sleep = n_epochs - latency - sum(bouts)
    sleep = _sleep_without_wake(rng, person, n_sleep, n_sleep / (n_epochs - latency))
    stages = np.concatenate([np.full(latency, W, np.int8), _cut_by_wake(rng, sleep, bouts)])
    return _lighten(rng, stages, person.n1_percent)


def _wake_bouts(rng: np.random.Generator, total: int) -> list[int]:
    """Lengths in epochs that add up to `total`, each from a truncated power law."""
    low, high = (limit ** (1 - WAKE_EXPONENT) for limit in WAKE_RANGE_MIN)
    bouts: list[int] = []
    left = total
    while left > 0:
        minutes = (low + rng.random() * (high - low)) ** (1 / (1 - WAKE_EXPONENT))
        bouts.append(min(left, max(1, int(minutes * EPOCHS_PER_MIN))))
        left -= bouts[-1]
    return bouts


def _sleep_without_wake(rng: np.random.Generator, person: Person, n_sleep: int, sleep_share: float) -> np.ndarray:
    """(n_sleep,) int8: cycles in sleep time; `sleep_share` is what wake leaves of the clock."""
    n3_night = person.n3_percent / 100 * max(n_sleep, N3_REFERENCE_MIN * EPOCHS_PER_MIN)
    bout = np.interp(person.age_years, [25, 70], [N3_BOUT_MIN_YOUNG, N3_BOUT_MIN_OLD]) * EPOCHS_PER_MIN
    sequence: list[int] = [N1] * int(rng.integers(2, 7))
    cycle = 0
    while len(sequence) < n_sleep:
        place = min(cycle, len(CYCLE_MIN) - 1)
        minutes = rng.normal(CYCLE_MIN[place], CYCLE_SD_MIN) * person.cycle_scale * sleep_share
        length = int(np.clip(minutes, 45, 150) * EPOCHS_PER_MIN)
        rem_min = rng.normal(REM_MIN[place], REM_SD_MIN) * person.rem_percent / REM_REFERENCE_PERCENT
        rem = int(np.clip(rem_min * EPOCHS_PER_MIN, 4, 0.45 * length))
        if cycle == 0 and person.age_years < 35 and rng.random() < SKIPPED_FIRST_REM:
            rem = 0
        nrem = length - rem
        n3 = int(N3_SHARE[place] * n3_night * np.exp(0.2 * rng.standard_normal())) if cycle < 5 else 0
        sequence += _nrem_period(rng, nrem, min(n3, int(0.7 * nrem)), bout) + [REM] * rem
        cycle += 1
    return np.array(sequence[:n_sleep], dtype=np.int8)


def _nrem_period(rng: np.random.Generator, length: int, n3: int, bout: float) -> list[int]:
    """Down through N2, N3 in bouts broken by N2, and up again: `length` epochs with about `n3` of N3."""
    period = [N1] * int(rng.integers(0, 3)) + [N2] * int(length * rng.uniform(0.10, 0.20))
    while n3 > 0:
        run = min(n3, 1 + int(rng.exponential(bout)))
        period += [N3] * run + [N2] * int(rng.geometric(0.5))
        n3 -= run
    return (period + [N2] * length)[:length]


def _cut_by_wake(rng: np.random.Generator, sleep: np.ndarray, bouts: list[int]) -> np.ndarray:
    """Puts wake bouts between epochs of sleep; sleep resumes through N1 (and N2 where it was deep)."""
    weight = np.array([0.0] + [WAKE_WEIGHT[stage] for stage in (N1, N2, N3, REM)])[sleep]
    weight[1:][(sleep[:-1] == REM) & (sleep[1:] != REM)] = WAKE_WEIGHT_REM_END
    weight[: min(10, len(sleep) // 2)] = 0  # the first five minutes of sleep are kept
    places = rng.choice(
        len(sleep), size=min(len(bouts), int((weight > 0).sum())), replace=False, p=weight / weight.sum()
    )
    sleep = sleep.copy()
    pieces, last = [], 0
    for place, bout in zip(np.sort(places), bouts, strict=False):
        pieces += [sleep[last:place], np.full(bout, W, np.int8)]
        resumed = sleep[place : place + int(rng.integers(2, 5))]
        if resumed[0] == REM:
            resumed[: int(rng.integers(0, 2))] = N1
        else:
            resumed[resumed == N3] = N2
            resumed[: int(rng.integers(1, 4))] = N1
        last = place
    pieces.append(sleep[last:])
    stages = np.concatenate(pieces)
    short = len(sleep) + sum(bouts) - len(stages)  # bouts that found no place are wake before getting up
    return np.concatenate([stages, np.full(short, W, np.int8)])


def _lighten(rng: np.random.Generator, stages: np.ndarray, n1_percent: float) -> np.ndarray:
    """Turns short stretches of N2 into N1 until N1 has its share of sleep."""
    target = n1_percent / 100 * np.count_nonzero(stages != W)
    for place in rng.permutation(np.flatnonzero(stages == N2)):
        if np.count_nonzero(stages == N1) >= target:
            break
        stretch = stages[place : place + int(rng.integers(1, 4))]
        stretch[stretch == N2] = N1
    return stages
