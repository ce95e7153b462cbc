"""Annotations -> `Scoring`: epochs by majority, events within the recording, what is dropped is counted."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data_pipeline.annotations.codes import REM_IS_4, UnclearCodes, coding_of
from data_pipeline.annotations.families import TERM_USES, family_notes, shown, unclear_families
from data_pipeline.annotations.plausibility import oddities
from data_pipeline.annotations.stage_words import is_light_sleep, stage_word
from data_pipeline.annotations.terms import (
    FAMILIES,
    Meaning,
    is_remark,
    is_vocabulary,
    kind_of,
    plain,
    stage_of,
    words_of,
)
from data_pipeline.night import (
    BREATHING_EVENTS,
    EPOCH_S,
    STAGES,
    UNKNOWN_LIGHTS,
    UNKNOWN_STAGE,
    Event,
    EventKind,
    Lights,
    Scoring,
)
from data_pipeline.readers.recording import Annotation

LARGEST_UNKNOWN_SHARE = 0.02
"""Of the time that is staged, what may be in words that nobody understood before no stage counts (assumed): without N1,
a twentieth of the night, a model would learn that there is none."""
_N1, _N2, _REM = (STAGES.index(name) for name in ("N1", "N2", "REM"))
_NOT_UNDERSTOOD = -2
_CPAP = re.compile(
    r"^(c|bi|bi level |auto)?pap( therapy| titration)? (on|start\w*|begin\w*|applied)\b|"
    r"^(start|begin\w*|apply) (of )?((c|bi|auto)?pap|titration)\b|^titration (start\w*|begin\w*)\b|^split night start"
)
"""What technicians write where positive pressure begins (our choice of words)."""


def scoring_from(
    annotations: Sequence[Annotation],
    duration_s: float,
    scored: Iterable[str] | None = None,
    terms: Mapping[str, Meaning] | None = None,
    lights_s: Lights = UNKNOWN_LIGHTS,
) -> tuple[Scoring, tuple[str, ...]]:
    """Builds a scoring for a recording of `duration_s` seconds.

    An epoch gets the stage that fills most of its 30 s; on a tie, the one it begins with. A stage mark
    without duration lasts until the next one, the last for an epoch. Where marks overlap the later wins.

    `scored` is what the scorer looked for. Unless given: any stage mark means "stages"; any apnea or hypopnea
    means all breathing events; of every other kind, a mark means that this kind was looked for. Whatever is given, a
    family with marks that were not understood (`families`) does not count as scored, and neither do the stages where
    such words take more than `LARGEST_UNKNOWN_SHARE` of the time.

    `terms` gives words, in lower case, a meaning before all others: "unsure" is a hypopnea in one cohort, a mixed
    apnea in another, and nothing elsewhere.

    `lights_s`: lights off and on where the file says them; else the first mark "lights off" and the last "lights on"
    after it. The first mark "CPAP on", "start of titration" or the like is where positive pressure begins.

    Returns:
      The scoring, and notes: unknown terms, unscored epochs, marks dropped or shortened, each with its count.
    """
    marks = _read(annotations, terms)
    notes = []
    if marks.unknown:
        texts = named(Counter(plain(a.text) for a in marks.unknown))
        notes.append(f"{len(marks.unknown)} annotation(s) with unknown terms were not used{texts}.")
    stages, unread = _stages(marks.stages, duration_s, notes)
    unclear = {"stages"} if unread > LARGEST_UNKNOWN_SHARE else set()
    if foreign := [a for a, code in marks.stages if code == _NOT_UNDERSTOOD]:
        fate = "no stage counts as scored" if unclear else "their epochs have no stage"
        share = f"{100 * unread:.2g} % of what is staged"
        notes.append(f"{len(foreign)} stage mark(s), {share}, were not understood ({shown(foreign)}): {fate}.")
    if unclear:
        stages = np.full_like(stages, UNKNOWN_STAGE)
    events = _within(marks.events, duration_s, notes)
    if scored is None:
        kinds = {e.kind for e in events}
        scored = kinds | (BREATHING_EVENTS if kinds & BREATHING_EVENTS else set())
        scored |= {"stages"} if marks.stages else set()
    scored = frozenset(scored)
    if wrong := scored - {"stages", *EventKind, *(meaning.kind for meaning in (terms or {}).values())}:
        raise ValueError(f"scored: {sorted(wrong)} is neither 'stages' nor an event kind.")
    families = unclear_families(marks.unknown, events, scored)
    notes += family_notes({family: of_it for family, of_it in families.items() if FAMILIES[family][0] & scored})
    unclear = unclear.union(*(FAMILIES[family][0] for family in families))
    notes += oddities(stages)
    # Plain strings, so that the set reads the same wherever it came from.
    kept, unclear = frozenset(map(str, scored - unclear)), frozenset(map(str, unclear))
    lights_s = _lights(annotations, lights_s, duration_s, notes)
    return Scoring(stages, tuple(events), kept, unclear, lights_s, _cpap_from_s(annotations, duration_s)), tuple(notes)


@dataclass
class _Marks:
    """Annotations by what they are; a stage's code is `_NOT_UNDERSTOOD` where it is a stage, and nobody knows which."""

    stages: list[tuple[Annotation, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    unknown: list[Annotation] = field(default_factory=list)


def _read(annotations: Sequence[Annotation], terms: Mapping[str, Meaning] | None) -> _Marks:
    marks, light = _Marks(), []
    for a in annotations:
        word = plain(a.text)
        own = terms.get(word.lower()) if terms else None
        code = stage_of(word)
        kind = own.kind if own else kind_of(a.text)
        if code is not None and own is None:
            marks.stages.append((a, code))
        elif kind is not None:
            rule = own.rule if own else ""
            marks.events.append(Event(kind, a.onset_s, a.duration_s or 0.0, source=_without_numbers(word), rule=rule))
        elif is_light_sleep(word):
            light.append(a)
        elif stage_word(word) is not None and not is_remark(stage_word(word)):
            marks.stages.append((a, _NOT_UNDERSTOOD))
        elif not is_remark(a.text):
            marks.unknown.append(a)
    # Light sleep is the one of N1 and N2 that the other marks do not name; where they name none, both.
    missing = {_N1, _N2} - {code for _, code in marks.stages}
    code = missing.pop() if len(missing) == 1 else _NOT_UNDERSTOOD
    marks.stages += [(a, code) for a in light]
    if _is_rem_written_as_4(marks):
        marks.stages = [(a, _NOT_UNDERSTOOD if stage_word(plain(a.text)) == "4" else c) for a, c in marks.stages]
    between = _between_stages(marks)
    marks.stages += [(a, _NOT_UNDERSTOOD) for a in between]
    marks.unknown = [a for a in marks.unknown if a not in between]
    return marks


def _is_rem_written_as_4(marks: _Marks) -> bool:
    """Whether "Sleep stage 4", stage 4 in EDF+ texts, stands where only REM can: a program of other codes wrote it."""
    codes = [stage_word(plain(a.text)) for a, _ in marks.stages]
    if "4" not in codes or any(code == _REM for _, code in marks.stages) or not set(codes) <= set("01234W?"):
        return False
    try:
        coding = coding_of([-1 if code == "?" else int(code.replace("W", "0")) for code in codes])
    except UnclearCodes:
        return False
    return coding == REM_IS_4


def _between_stages(marks: _Marks) -> set[Annotation]:
    """Unknown marks that fill the epochs between the known stages: words for stages that nobody knows."""
    lengths = Counter(a.duration_s for a, _ in marks.stages if a.duration_s)
    if not lengths:
        return set()
    ((epoch_s, _),) = lengths.most_common(1)
    origin_s, staged = marks.stages[0][0].onset_s, {a.onset_s for a, _ in marks.stages}

    def is_epoch(a: Annotation) -> bool:
        late_s = (a.onset_s - origin_s) % epoch_s
        return a.duration_s == epoch_s and min(late_s, epoch_s - late_s) < 0.1 and a.onset_s not in staged

    by_word: dict[str, list[Annotation]] = {}
    for a in marks.unknown:
        by_word.setdefault(words_of(a.text), []).append(a)
    return {
        a for of_word in by_word.values() if len(of_word) >= TERM_USES and all(map(is_epoch, of_word)) for a in of_word
    }


def _lights(annotations: Sequence[Annotation], given: Lights, duration_s: float, notes: list[str]) -> Lights:
    marks = [(a.onset_s, words_of(a.text)) for a in annotations if "l" in a.text.lower() or not a.text.isascii()]
    off_s, on_s = given
    if off_s is None:
        off_s = min((s for s, words in marks if re.match(r"lights off\b", words)), default=None)
    if on_s is None:
        after_s = -np.inf if off_s is None else off_s
        on_s = max((s for s, words in marks if re.match(r"lights on\b", words) and s > after_s), default=None)
    inside = [s if s is not None and 0 <= s <= duration_s else None for s in (off_s, on_s)]
    if off_s is None and on_s is not None and on_s < duration_s / 2:
        inside[1] = None  # the light went on before the night, and nobody wrote when it went off
    if inside != [off_s, on_s]:
        notes.append("A mark of lights off or on lies where it cannot be, and was not used.")
    if inside[0] is not None and inside[1] is not None and inside[0] >= inside[1]:
        notes.append("Lights on come before lights off: neither was used.")
        return UNKNOWN_LIGHTS
    return inside[0], inside[1]


def _cpap_from_s(annotations: Sequence[Annotation], duration_s: float) -> float | None:
    begins = (a.onset_s for a in annotations if _CPAP.search(words_of(a.text)) and 0 <= a.onset_s < duration_s)
    return min(begins, default=None)


def without(scoring: Scoring, unusable: Collection[str]) -> tuple[Scoring, tuple[str, ...]]:
    """The scoring without what is known to be wrong in it: "stages", or kinds of events; and a note of the loss."""
    stages, lost = scoring.stages, Counter(str(e.kind) for e in scoring.events if e.kind in unusable)
    if "stages" in unusable:
        lost["stages"] = int((stages != UNKNOWN_STAGE).sum())
        stages = np.full_like(stages, UNKNOWN_STAGE)
    events = tuple(e for e in scoring.events if e.kind not in unusable)
    listed = ", ".join(f"{what} ({n})" for what, n in sorted(lost.items()) if n)
    notes = (f"Scoring that the cohort says is unusable was left out: {listed}.",) if listed else ()
    return replace(scoring, stages=stages, events=events, scored=scoring.scored - frozenset(unusable)), notes


def named(texts: Counter[str]) -> str:
    """The commonest of some texts, for a message; only those that are of scoring's vocabulary and used often.

    What a technician typed may be a name or a date, three times too, and messages end in manifests and reports.
    """
    terms = [f"{text!r} ({n})" for text, n in texts.most_common() if n >= TERM_USES and is_vocabulary(text)][:8]
    return f": {', '.join(terms)}" if terms else ""


def _without_numbers(term: str) -> str:
    """A term without words of three digits or more: dates and numbers of patients are none of it."""
    return " ".join(word for word in term.split() if len(re.findall(r"\d", word)) < 3)


def _stages(marks: list[tuple[Annotation, int]], duration_s: float, notes: list[str]) -> tuple[np.ndarray, float]:
    """(n_epochs,) int8, and what share of the time that is staged was not understood."""
    n_epochs = int(duration_s) // EPOCH_S
    seconds = np.full(n_epochs * EPOCH_S, UNKNOWN_STAGE, np.int8)
    # "Not scored" over the whole night, beside the epochs, gives way to them.
    marks = sorted(marks, key=lambda m: (m[0].onset_s, m[1] != UNKNOWN_STAGE))
    past_s, overlap_s, end_before = 0.0, 0, 0
    for place, (a, code) in enumerate(marks):
        length_s = a.duration_s
        if not length_s:
            length_s = marks[place + 1][0].onset_s - a.onset_s if place + 1 < len(marks) else EPOCH_S
        start, stop = round(a.onset_s), round(a.onset_s + length_s)
        if code >= 0:
            past_s += max(0.0, a.onset_s + length_s - max(duration_s, a.onset_s))
        span = seconds[max(start, 0) : max(stop, 0)]
        overlap_s += int(((span != code) & (span >= 0) & (np.arange(len(span)) < end_before - start)).sum())
        span[:] = code
        end_before = max(end_before, stop)
    if past_s >= 1:
        notes.append(f"{past_s:g} s of scored stages lie past the end of the recording and were dropped.")
    if overlap_s:
        notes.append(f"{overlap_s} s have two different stages; the later mark was taken.")
    staged_s = int((seconds != UNKNOWN_STAGE).sum())
    unread = int((seconds == _NOT_UNDERSTOOD).sum()) / staged_s if staged_s else 0.0
    seconds[seconds == _NOT_UNDERSTOOD] = UNKNOWN_STAGE
    counts = np.zeros((n_epochs, len(STAGES) + 1))
    epochs = seconds.reshape(n_epochs, EPOCH_S)
    for column, code in enumerate((UNKNOWN_STAGE, *range(len(STAGES)))):
        counts[:, column] = (epochs == code).sum(axis=1) + 0.5 * (epochs[:, :1] == code).any(axis=1)
    stages = (counts.argmax(axis=1) - 1).astype(np.int8)
    if marks and (n := int((stages == UNKNOWN_STAGE).sum())):
        notes.append(f"{n} of {n_epochs} epochs have no known stage.")
    return stages, unread


def _within(events: list[Event], duration_s: float, notes: list[str]) -> list[Event]:
    outside, shortened, kept = 0, 0, {}
    for e in events:
        start_s, end_s = max(e.onset_s, 0.0), min(e.end_s, duration_s)
        if e.onset_s >= duration_s or e.end_s < 0:
            outside += 1
            continue
        if e.onset_s < 0 or e.end_s > duration_s:
            shortened += 1
            e = Event(e.kind, start_s, end_s - start_s, e.source, e.rule)
        kept[e.kind, e.onset_s, e.duration_s] = e
    twice = len(events) - outside - len(kept)
    for n, what in (
        (outside, "outside the recording were dropped"),
        (shortened, "crossing an end of the recording were shortened"),
        (twice, "written twice were taken once"),
    ):
        if n:
            notes.append(f"{n} event(s) {what}.")
    return sorted(kept.values(), key=lambda e: (e.onset_s, e.kind, e.duration_s))


def merge_scorings(scorings: Sequence[Scoring]) -> tuple[Scoring, tuple[str, ...]]:
    """One scoring of a night from several files. Where two name a stage, the first file has the word.

    Raises:
      ValueError: no scoring, or scorings of different lengths.
    """
    if not scorings or len({len(s.stages) for s in scorings}) != 1:
        raise ValueError("Scorings to be merged must be at least one, and of the same recording.")
    stages = scorings[0].stages.copy()
    differ = 0
    for other in scorings[1:]:
        both = (stages != UNKNOWN_STAGE) & (other.stages != UNKNOWN_STAGE)
        differ += int((stages[both] != other.stages[both]).sum())
        stages = np.where(stages == UNKNOWN_STAGE, other.stages, stages)
    unique = {(e.kind, e.onset_s, e.duration_s): e for s in reversed(scorings) for e in s.events}
    events = sorted(unique.values(), key=lambda e: (e.onset_s, e.kind, e.duration_s))
    unclear = frozenset().union(*(s.unclear for s in scorings))
    # What one file's words leave unclear, another's cannot make sure: its apneas are perhaps in the first.
    scored = frozenset().union(*(s.scored for s in scorings)) - (unclear - {"stages"})
    off_s, on_s = (next((s.lights_s[k] for s in scorings if s.lights_s[k] is not None), None) for k in (0, 1))
    cpap_from_s = next((s.cpap_from_s for s in scorings if s.cpap_from_s is not None), None)
    notes = (f"{differ} epoch(s) differ between scoring files; the first file was taken.",) if differ else ()
    return Scoring(stages, tuple(events), scored, unclear - scored, (off_s, on_s), cpap_from_s), notes
