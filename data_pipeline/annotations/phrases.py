"""Events as a phrase, as Grass, Natus and Sandman software writes them into any of the forms.

`RESPIRATORY EVENT - DUR: 44.9 SEC. - HYPOPNEA - DESAT 91.6 %`, `AROUSAL - DUR: 3.0 SEC. - SPONTANEOUS`,
`* DESATURATION - DUR: 25 SEC. - MIN 92 % - DROP 4.2 %`: what it is, its length, and what is known of it.
"""

import re
from dataclasses import replace

from data_pipeline.readers.recording import Annotation

_DURATION = re.compile(r"\bDUR: *(\d+(?:\.\d+)?) *SEC", re.IGNORECASE)
_FAMILY = re.compile(r"RESP(IRATORY)? ?EVENT", re.IGNORECASE)


def in_words(annotation: Annotation) -> Annotation:
    """The event's own word, and its length where the mark has none; other annotations as they are.

    >>> in_words(Annotation(9.0, None, "Respiratory Event - Dur: 12.5 sec. - Hypopnea - Desat 91 %"))
    Annotation(onset_s=9.0, duration_s=12.5, text='Hypopnea')
    """
    match = _DURATION.search(annotation.text)
    if match is None:
        return annotation
    parts = [part.strip() for part in annotation.text.removeprefix("*").split(" - ") if not _DURATION.search(part)]
    named = parts[1:2] if parts and _FAMILY.fullmatch(parts[0].strip()) else parts[:1]
    if not named:
        return annotation
    return replace(annotation, duration_s=annotation.duration_s or float(match[1]), text=named[0])
