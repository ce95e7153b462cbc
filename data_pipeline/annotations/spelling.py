"""How words are compared: without case, accents and punctuation, and put into English by a table."""

import re
import unicodedata
from collections.abc import Callable, Mapping

_LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})
"""Letters that Unicode does not take apart."""
_WITHOUT_BLANKS = r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
"""Scripts that put words together without blanks: Thai, Japanese, Chinese; Korean joins its particles."""


def normal(text: str) -> str:
    """Lower case, accents off, CamelCase apart, anything but letters, digits and "?" as one blank.

    >>> normal("Apnée_obstructive"), normal("ObstructiveApnea")
    ('apnee obstructive', 'obstructive apnea')
    """
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", " ", text)
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(_LETTERS)
    return re.sub(r"(?:[^\w?]|_)+", " ", unicodedata.normalize("NFC", text)).strip()


def translator(table: Mapping[str, str]) -> Callable[[str], str]:
    """What puts a `normal` text into English.

    Args:
      table: English -> the same in other languages and spellings, separated by commas.
    Returns:
      A function: each of these words or phrases is replaced, the longest first.
    """
    english = {normal(phrase): word for word, phrases in table.items() for phrase in phrases.split(",")}
    whole, joined = [], []
    for phrase in sorted(english, key=len, reverse=True):
        (joined if re.search(_WITHOUT_BLANKS, phrase) else whole).append(re.escape(phrase))
    pattern = re.compile("|".join([*joined, rf"(?<!\w)(?:{'|'.join(whole)})(?!\w)"]))

    def translate(text: str) -> str:
        return " ".join(pattern.sub(lambda found: f" {english[found[0]]} ", text).split())

    return translate
