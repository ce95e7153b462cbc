"""What somebody who misspelt a name may have meant."""

import difflib
from collections.abc import Collection

_LISTED = 20


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that is most like `name`, whatever the case; None where none is."""
    folded = {k.casefold(): k for k in known}
    # The cost grows with the square of the length, and the name may be a stranger's.
    near = difflib.get_close_matches(name.casefold()[:80], list(folded), 1, 0.5)
    return folded[near[0]] if near else None


def suggestion(name: str, known: Collection[str]) -> str:
    """The end of an error about an unknown name: what was meant perhaps, else what there is.

    >>> "no such slot 'THORX'" + suggestion("THORX", ["THORAX", "ABDOMEN"])
    "no such slot 'THORX'; did you mean 'THORAX'?"
    """
    near = nearest(name, known)
    if near is not None:
        return f"; did you mean {near!r}?"
    more = ", …" if len(known) > _LISTED else ""
    return f"; there are {', '.join(map(repr, list(known)[:_LISTED]))}{more}" if known else "; there are none"
