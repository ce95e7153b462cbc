"""Annotations -> `Scoring`: epochs by majority, events within the recording, what is dropped is counted."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from data_pipeline.annotations.terms import Meaning, is_remark, kind_of, plain, stage_of
from data_pipeline.night import BREATHING_EVENTS, EPOCH_S, STAGES, UNKNOWN_STAGE, Event, EventKind, Scoring
from data_pipeline.readers.recording import Annotation

TERM_USES = 3
"""A text that a file uses at least so often is a term of its scorer, not a remark."""


def scoring_from(
    annotations: Sequence[Annotation],
    duration_s: float,
    scored: Iterable[str] | None = None,
    terms: Mapping[str, Meaning] | None = None,
) -> tuple[Scoring, tuple[str, ...]]:
    """Builds a scoring for a recording of `duration_s` seconds.

    An epoch gets the stage that fills most of its 30 s; on a tie, the one it begins with. A stage mark
    without duration lasts until the next one, the last for an epoch. Where marks overlap the later wins.

    `scored` is what the scorer looked for. Unless given: any stage mark means "stages"; any apnea or hypopnea
    means all breathing events; of every other kind, a mark means that this kind was looked for.

    `terms` gives words, in lower case, a meaning before all others: "unsure" is a hypopnea in one cohort, a mixed
    apnea in another, and nothing elsewhere.

    Returns:
      The scoring, and notes: unknown terms, unscored epochs, marks dropped or shortened, each with its count.
    """
    stage_marks, events, unknown = [], [], Counter()
    for a in annotations:
        word = plain(a.text)
        own = terms.get(word.lower()) if terms else None
        code = stage_of(word)
        kind = own.kind if own else kind_of(a.text)
        if code is not None and own is None:
            stage_marks.append((a, code))
        elif kind is not None:
            rule = own.rule if own else ""
            events.append(Event(kind, a.onset_s, a.duration_s or 0.0, source=_without_numbers(word), rule=rule))
        elif not is_remark(a.text):
            unknown[word] += 1
    notes = []
    if unknown:
        notes.append(f"{unknown.total()} annotation(s) with unknown terms were not used{named(unknown)}.")
    stages = _stages(stage_marks, duration_s, notes)
    events = _within(events, duration_s, notes)
    if scored is None:
        kinds = {e.kind for e in events}
        scored = kinds | (BREATHING_EVENTS if kinds & BREATHING_EVENTS else set())
        scored |= {"stages"} if stage_marks else set()
    scored = frozenset(scored)
    if wrong := scored - {"stages", *EventKind, *(meaning.kind for meaning in (terms or {}).values())}:
        raise ValueError(f"scored: {sorted(wrong)} is neither 'stages' nor an event kind.")
    # Plain strings, so that the set reads the same wherever it came from.
    return Scoring(stages, tuple(events), frozenset(map(str, scored))), tuple(notes)


def without(scoring: Scoring, unusable: Collection[str]) -> tuple[Scoring, tuple[str, ...]]:
    """The scoring without what is known to be wrong in it: "stages", or kinds of events; and a note of the loss."""
    stages, lost = scoring.stages, Counter(str(e.kind) for e in scoring.events if e.kind in unusable)
    if "stages" in unusable:
        lost["stages"] = int((stages != UNKNOWN_STAGE).sum())
        stages = np.full_like(stages, UNKNOWN_STAGE)
    events = tuple(e for e in scoring.events if e.kind not in unusable)
    listed = ", ".join(f"{what} ({n})" for what, n in sorted(lost.items()) if n)
    notes = (f"Scoring that the cohort says is unusable was left out: {listed}.",) if listed else ()
    return Scoring(stages, events, scoring.scored - frozenset(unusable)), notes


def named(texts: Counter[str]) -> str:
    """The commonest of some texts, for a message; only those short and used often enough to be a term.

    What a technician typed may be a name or a date, and messages end in manifests and reports.
    """
    is_term = re.compile(r"[^\d\s]{1,20}( [^\d\s]{1,20})?( \d)?").fullmatch
    terms = [f"{text!r} ({n})" for text, n in texts.most_common(8) if n >= TERM_USES and is_term(text)]
    return f": {', '.join(terms)}" if terms else ""


def _without_numbers(term: str) -> str:
    """A term without words of three digits or more: dates and numbers of patients are none of it."""
    return " ".join(word for word in term.split() if len(re.findall(r"\d", word)) < 3)


def _stages(marks: list[tuple[Annotation, int]], duration_s: float, notes: list[str]) -> np.ndarray:
    """(n_epochs,) int8."""
    n_epochs = int(duration_s) // EPOCH_S
    seconds = np.full(n_epochs * EPOCH_S, UNKNOWN_STAGE, np.int8)
    marks = sorted(marks, key=lambda m: m[0].onset_s)
    past_s, overlap_s, end_before = 0.0, 0, 0
    for place, (a, code) in enumerate(marks):
        length_s = a.duration_s
        if not length_s:
            length_s = marks[place + 1][0].onset_s - a.onset_s if place + 1 < len(marks) else EPOCH_S
        start, stop = round(a.onset_s), round(a.onset_s + length_s)
        if code != UNKNOWN_STAGE:
            past_s += max(0.0, a.onset_s + length_s - max(duration_s, a.onset_s))
        span = seconds[max(start, 0) : max(stop, 0)]
        overlap_s += int(((span != code) & (np.arange(len(span)) < end_before - start)).sum())
        span[:] = code
        end_before = max(end_before, stop)
    if past_s >= 1:
        notes.append(f"{past_s:g} s of scored stages lie past the end of the recording and were dropped.")
    if overlap_s:
        notes.append(f"{overlap_s} s have two different stages; the later mark was taken.")
    counts = np.zeros((n_epochs, len(STAGES) + 1))
    epochs = seconds.reshape(n_epochs, EPOCH_S)
    for column, code in enumerate((UNKNOWN_STAGE, *range(len(STAGES)))):
        counts[:, column] = (epochs == code).sum(axis=1) + 0.5 * (epochs[:, :1] == code).any(axis=1)
    stages = (counts.argmax(axis=1) - 1).astype(np.int8)
    if marks and (n := int((stages == UNKNOWN_STAGE).sum())):
        notes.append(f"{n} of {n_epochs} epochs have no known stage.")
    return stages


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
    scored = frozenset().union(*(s.scored for s in scorings))
    notes = (f"{differ} epoch(s) differ between scoring files; the first file was taken.",) if differ else ()
    return Scoring(stages, tuple(events), scored), notes
