"""Which families of marks were not wholly understood, and so are not scored.

A second without a mark is "no event" only where every mark of the family was read. One word that is not known, among
known ones, may be every apnea of the night: 600 s of them were called healthy before this was looked at.

How an unknown word is known to be of a family: by parts of it, in the languages of sleep laboratories ("apn",
"obstru", "bein"; `terms.FAMILIES`). A remark has them too ("SpO2 finger"), so a word counts that has a length in time
as events have, or is used `TERM_USES` times; where events are written without lengths, one use is enough. Where no part
tells, as with "H" beside "OA", the word counts for every family whose events are as long as its marks are, once it is
used `TERM_USES` times: a few lost families are cheaper than false negatives. A word of no length then tells nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from statistics import median

from data_pipeline.annotations.terms import FAMILIES, families_of, is_other, is_vocabulary, plain, words_of
from data_pipeline.night import Event
from data_pipeline.readers.recording import Annotation

TERM_USES = 3
"""A text that a file uses at least so often is a term of its scorer, not a remark."""
_LENGTHS_S = {
    "breathing events": (8, 180),
    "arousals": (2, 45),
    "limb movements": (0.3, 12),
    "desaturations": (4, 300),
    "spindles": (0.3, 5),
    "K complexes": (0.3, 5),
}
"""How long events of a family last, as scorers mark them (the least by the AASM manual, roughly; the most assumed)."""
_LONGEST_TERM = 6
"""A text of more words is a sentence."""
_SHOWN = 4
"""Words named in a note; the rest is counted."""

Unclear = dict[str, list[Annotation]]
"""Family -> the marks that may be of it and were not understood."""


def unclear_families(unknown: Sequence[Annotation], events: Sequence[Event], among: Collection[str]) -> Unclear:
    """The families of which there may be marks that were not understood.

    Args:
      unknown: marks that are neither stage, event nor usual remark.
      events: those that were understood.
      among: kinds that would count as scored.
    """
    by_word: dict[str, list[Annotation]] = {}
    for mark in unknown:
        by_word.setdefault(words_of(mark.text), []).append(mark)
    points = 2 * sum(e.duration_s == 0 for e in events) > len(events)
    found: Unclear = {}
    for word, marks in by_word.items():
        has_length = any(mark.duration_s for mark in marks)
        named = families_of(marks[0].text)
        if len(word.split()) > _LONGEST_TERM and not has_length:
            continue
        if named and not (has_length or points or len(marks) >= TERM_USES):
            continue
        if not named:
            named = _by_length(marks, points) if len(marks) >= TERM_USES and not is_other(marks[0].text) else ()
            named = [family for family in named if FAMILIES[family][0] & set(among)]
        for family in named:
            found.setdefault(family, []).extend(marks)
    return found


def _by_length(marks: Sequence[Annotation], points: bool) -> Iterable[str]:
    lengths_s = [mark.duration_s for mark in marks if mark.duration_s]
    if 2 * len(lengths_s) < len(marks):
        return FAMILIES if points else ()
    middle_s = median(lengths_s)
    return [family for family, (least_s, most_s) in _LENGTHS_S.items() if least_s <= middle_s <= most_s]


def family_notes(unclear: Unclear) -> list[str]:
    """One sentence a family: how many marks of which words made it unscored, and where the first is."""
    notes = []
    for family, marks in unclear.items():
        verb = f"{family[0].upper()}{family[1:]} count as not scored"
        notes.append(f"{verb}: {len(marks)} mark(s) that may be some were not understood ({shown(marks)}).")
    return notes


def shown(marks: Sequence[Annotation]) -> str:
    """What a message says of marks that nobody understood: words, if they are of no person, and the first's place."""
    uses: dict[str, int] = {}
    for mark in marks:
        uses[plain(mark.text)] = uses.get(plain(mark.text), 0) + 1
    words = sorted(uses, key=lambda word: -uses[word])
    named = [f"'{word}' ({uses[word]})" for word in words if is_vocabulary(word)][:_SHOWN]
    others = len(words) - len(named)
    counted = [f"{others} {'other ' if named else ''}word(s) not shown"] if others else []
    return f"{', '.join((*named, *counted))}, the first at {min(mark.onset_s for mark in marks):g} s"
