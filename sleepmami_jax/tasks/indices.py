"""Every index of a night by one rule: which events it counts, and per how much sleep. docs/rules.md has the table.

An index is the number of listed events that its rule takes, over the time that the rule names. What an event counts as
stands beside it in `events.csv`, and why it does not: whoever counts the list gets the index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline.night import APNEAS, EPOCH_S, Event, EventKind
from data_pipeline.tasks import APNEA_TYPE, AROUSAL, BREATHING, K_COMPLEX, LIMB_MOVEMENT, OXIMETRY, RERA, SPINDLE
from sleepmami_jax.tasks.oximetry import DROP_PERCENT

DEEP_DROP_PERCENT = 4.0
"""A hypopnea's desaturation by rule 1B (AASM VIII; the rule of CMS), and that of ODI4."""
CHILD_CENTRAL_S = 20.0
"""A child's central apnea that is shorter needs an arousal or a desaturation (AASM VIII, children)."""
PART_MIN = 15.0
"""An index in a part of the sleep, such as REM, of less than 15 min is not given (our choice; practice is 10 to 15)."""
RESPIRATORY, PLM, SPONTANEOUS = "respiratory", "plm", "spontaneous"
"""What an arousal goes with; the first that holds (the custom of scorers)."""


@dataclass(frozen=True)
class Listed:
    """An event of the list, with what stands around it; None is not known, for want of a sensor or a head.

    Attributes:
      task: name of its task.
      event: the event itself.
      left_out: why it counts nowhere, such as that the stage is unsure; "" where it may count.
      fall_percent: depth of the desaturation that goes with it, or that it is; 0 without one; None also where the
        oximeter had no value beside it.
      aroused: whether an arousal goes with it.
      periodic: whether it is in a series of limb movements.
      cause: of an arousal, one of `RESPIRATORY`, `PLM`, `SPONTANEOUS`.
    """

    task: str
    event: Event
    left_out: str = ""
    fall_percent: float | None = None
    aroused: bool | None = None
    periodic: bool = False
    cause: str | None = None


@dataclass(frozen=True)
class Rule:
    """One index.

    Attributes:
      name: what an event counts as; the statistic is `key`.
      task: whose events it counts; per hour of sleep in which this task was monitored.
      definition: a sentence for the reader, "" for one that goes without saying.
      of: which of the events it is about; all by default.
      lacks: what an event lacks to count by it, in words; "" when it counts.
      needs: names of further tasks without which it cannot be said.
      also: further tasks whose events count too.
      part: the part of the sleep in which it counts, by the second in which an event begins; "" is all.
      per: "h" or "min".
    """

    name: str
    task: str
    definition: str = ""
    of: Callable[[Listed], bool] = lambda _: True
    lacks: Callable[[Listed], str] = lambda _: ""
    needs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    part: str = ""
    per: str = "h"

    @property
    def key(self) -> str:
        return f"{self.name}_per_{self.per}"


def _fell(listed: Listed, percent: float) -> bool:
    return listed.fall_percent is not None and listed.fall_percent >= percent - 1e-6


def _no_fall(listed: Listed, percent: float) -> str:
    if listed.fall_percent is None:
        return "no valid SpO2 beside it"
    return f"no desaturation >= {percent:g} % within the window"


def _lacks_1a(listed: Listed) -> str:
    if listed.event.kind in APNEAS or _fell(listed, DROP_PERCENT) or listed.aroused:
        return ""
    return f"{_no_fall(listed, DROP_PERCENT)}, and no arousal"


def _lacks_1a_of_child(listed: Listed) -> str:
    short = listed.event.kind == EventKind.CENTRAL_APNEA and listed.event.duration_s < CHILD_CENTRAL_S
    if short and not (_fell(listed, DROP_PERCENT) or listed.aroused):
        return f"central, shorter than 20 s; {_no_fall(listed, DROP_PERCENT)}, and no arousal"
    return _lacks_1a(listed)


def _lacks_1b(listed: Listed) -> str:
    if listed.event.kind in APNEAS or _fell(listed, DEEP_DROP_PERCENT):
        return ""
    return _no_fall(listed, DEEP_DROP_PERCENT)


def _lacks_rdi(lacks_1a: Callable[[Listed], str]) -> Callable[[Listed], str]:
    def lacks(listed: Listed) -> str:
        if listed.task == BREATHING.name:
            return lacks_1a(listed)
        return "" if listed.aroused else "no arousal within the window"

    return lacks


def _is(*kinds: EventKind) -> Callable[[Listed], bool]:
    return lambda listed: listed.event.kind in kinds


def _caused(cause: str) -> Callable[[Listed], bool]:
    return lambda listed: listed.cause == cause


def _is_deep(listed: Listed) -> bool:
    return _fell(listed, DEEP_DROP_PERCENT)


def _lacks_series(listed: Listed) -> str:
    return "" if listed.periodic else "in no series of at least four, 5 to 90 s from onset to onset"


_TYPED = {"task": BREATHING.name, "needs": (APNEA_TYPE.name,)}
_IN = "events that begin there, per hour of it; at least 15 min of it"


def _breathing_rules(child: bool) -> tuple[Rule, ...]:
    lacks_1a = _lacks_1a_of_child if child else _lacks_1a
    both, name = (OXIMETRY.name, AROUSAL.name), BREATHING.name
    central = "; a central apnea of less than 20 s by the same" if child else ""
    rule_1b = Rule(
        "ahi_1b",
        name,
        "AHI by rule 1B: apneas, and hypopneas with a desaturation of at least 4 %",
        lacks=_lacks_1b,
        needs=(OXIMETRY.name,),
    )
    return (
        Rule(
            "ahi_1a",
            name,
            f"AHI by rule 1A: apneas, and hypopneas with a desaturation of at least 3 % or an arousal{central}",
            lacks=lacks_1a,
            needs=both,
        ),
        *(() if child else (rule_1b,)),  # there is no rule 1B for children
        Rule(
            "rdi",
            name,
            "RDI: what the AHI by rule 1A counts, and RERAs that end in an arousal",
            lacks=_lacks_rdi(lacks_1a),
            needs=(RERA.name, *both),
            also=(RERA.name,),
        ),
        Rule("apnea_index", name, of=_is(*APNEAS)),
        Rule("hypopnea_index", name, of=_is(EventKind.HYPOPNEA)),
        Rule(
            "obstructive_apnea_index",
            of=_is(EventKind.OBSTRUCTIVE_APNEA),
            definition="types: by the class that is most probable over the apnea's seconds; hypopneas have none",
            **_TYPED,
        ),
        Rule("central_apnea_index", of=_is(EventKind.CENTRAL_APNEA), **_TYPED),
        Rule("mixed_apnea_index", of=_is(EventKind.MIXED_APNEA), **_TYPED),
        Rule("ahi_rem", name, f"AHI in REM and NREM: {_IN}", part="rem"),
        Rule("ahi_nrem", name, part="nrem"),
        Rule(
            "ahi_supine", name, f"AHI supine and not: {_IN}, by the position's code in the montage file", part="supine"
        ),
        Rule("ahi_not_supine", name, part="not_supine"),
        Rule("ahi_before_cpap", name, f"AHI before and under CPAP: {_IN}; from where it is marked", part="before_cpap"),
        Rule("ahi_on_cpap", name, part="on_cpap"),
    )


_OTHER_RULES = (
    Rule(
        "respiratory_arousal_index",
        AROUSAL.name,
        "arousals by cause: with a breathing event or RERA; else with a periodic limb movement (they overlap, or lie "
        "less than 0.5 s apart); else spontaneous",
        of=_caused(RESPIRATORY),
        needs=(BREATHING.name,),
    ),
    Rule("plm_arousal_index", AROUSAL.name, of=_caused(PLM), needs=(BREATHING.name, LIMB_MOVEMENT.name)),
    Rule(
        "spontaneous_arousal_index",
        AROUSAL.name,
        of=_caused(SPONTANEOUS),
        needs=(BREATHING.name, LIMB_MOVEMENT.name),
    ),
    Rule("plm_index", LIMB_MOVEMENT.name, lacks=_lacks_series),
    Rule("odi3", OXIMETRY.name),
    Rule(
        "odi4",
        OXIMETRY.name,
        "ODI4: as ODI3, of falls of at least 4 points",
        of=_is_deep,
    ),
    Rule("odi3_rem", OXIMETRY.name, f"ODI3 in REM and NREM: {_IN}", part="rem"),
    Rule("odi3_nrem", OXIMETRY.name, part="nrem"),
)


def _wave_rules(n_cycles: int) -> tuple[Rule, ...]:
    """Densities of waves in N2 and N3, of the night, of each stage and of each cycle."""
    parts = ("n2", "n3", *(f"cycle{n}" for n in range(1, n_cycles + 1)))
    of_both = "those that begin in N2 or N3, per minute of N2 and N3: all, of each stage, and of each cycle"
    rules: list[Rule] = []
    for name, title in ((task.name, task.title) for task in (SPINDLE, K_COMPLEX)):
        rules.append(Rule(f"{name}_density_n2_n3", name, f"{title} density: {of_both}", part="n2_n3", per="min"))
        rules += [Rule(f"{name}_density_{part}", name, part=part, per="min") for part in parts]
    return tuple(rules)


def rules_of(index_of: Mapping[str, str], child: bool, n_cycles: int) -> tuple[Rule, ...]:
    """All indices that may be said of a night.

    Args:
      index_of: by name of a task of events, the statistic per hour that is of all its events (`Room.index`).
      child: whether the rules for children hold.
      n_cycles: of sleep.
    """
    plain = tuple(Rule(key.removesuffix("_per_h"), task) for task, key in index_of.items())
    return (*plain, *_breathing_rules(child), *_OTHER_RULES, *_wave_rules(n_cycles))


@dataclass(frozen=True)
class Slept:
    """Sleep, second by second (S,) bool.

    Attributes:
      of_task: by name of the task, where it was monitored in sleep.
      parts: by name, such as "rem"; one that is not there is not known.
    """

    of_task: Mapping[str, np.ndarray]
    parts: Mapping[str, np.ndarray]

    def within(self, rule: Rule) -> np.ndarray:
        slept = self.of_task[rule.task]
        return slept & self.parts[rule.part] if rule.part else slept


@dataclass(frozen=True)
class Indices:
    """What `count` finds.

    Attributes:
      values: by `Rule.key`, per hour or minute; None without a minute of the sleep, or less than `PART_MIN` of a part.
      counts_as: of each event the names of the rules that it counts under.
      why_not: of each event why it counts nowhere, or what it lacks for a rule: "ahi_1b: no desaturation ...".
      definitions: by `Rule.key`.
    """

    values: dict[str, float | None]
    counts_as: tuple[tuple[str, ...], ...]
    why_not: tuple[str, ...]
    definitions: dict[str, str]


def count(rules: Sequence[Rule], listed: Sequence[Listed], slept: Slept, known: Collection[str]) -> Indices:
    """The indices of a night, and what each event of its list counts as.

    Args:
      listed: all events of the night.
      known: names of the tasks that this night's sensors and this model allow.
    """
    values: dict[str, float | None] = {}
    counts_as: list[list[str]] = [[] for _ in listed]
    why_not = [[event.left_out] if event.left_out else [] for event in listed]
    said = [
        rule for rule in rules if {rule.task, *rule.needs} <= set(known) and (not rule.part or rule.part in slept.parts)
    ]
    for rule in said:
        within = slept.within(rule)
        minutes = float(within.sum() / 60)
        if not minutes or (rule.part and rule.per == "h" and minutes < PART_MIN):
            values[rule.key] = None
            continue
        found = 0
        for place, event in enumerate(listed):
            own = event.task in (rule.task, *rule.also) and not event.left_out and rule.of(event)
            if not own or (rule.part and not within[min(int(event.event.onset_s), len(within) - 1)]):
                continue
            if lack := rule.lacks(event):
                why_not[place].append(f"{rule.name}: {lack}")
            else:
                counts_as[place].append(rule.name)
                found += 1
        values[rule.key] = found / (minutes / 60 if rule.per == "h" else minutes)
    return Indices(
        values,
        tuple(map(tuple, counts_as)),
        tuple(map("; ".join, why_not)),
        {rule.key: rule.definition for rule in said if rule.definition},
    )


def parts_of(stages: np.ndarray, cycles: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Parts of the sleep, (S,) bool each: by stage, and N2 and N3 of each cycle.

    Args:
      stages: (E,) codes.
      cycles: half-open ranges of epochs, as from `stages.sleep_cycles`.
    """
    wave = np.isin(stages, (2, 3))
    epochs = {"rem": stages == 4, "nrem": (stages > 0) & (stages < 4), "n2": stages == 2, "n3": stages == 3}
    epochs["n2_n3"] = wave
    for n, (first, end) in enumerate(cycles, start=1):
        epochs[f"cycle{n}"] = wave & (np.arange(len(stages)) >= first) & (np.arange(len(stages)) < end)
    return {name: np.repeat(where, EPOCH_S) for name, where in epochs.items()}
