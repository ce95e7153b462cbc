"""How words are compared: without case, accents and punctuation, and put into English by a table."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

_LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})
"""Letters that Unicode does not take apart."""
_WITHOUT_BLANKS = r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
"""Scripts that put words together without blanks: Thai, Japanese, Chinese; Korean joins its particles."""


@lru_cache(maxsize=1 << 16)
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
    joined = sorted((phrase for phrase in english if re.search(_WITHOUT_BLANKS, phrase)), key=len, reverse=True)
    in_joined = re.compile("|".join(map(re.escape, joined)))
    most_words = max(phrase.count(" ") + 1 for phrase in english)

    def translate(text: str) -> str:
        if re.search(_WITHOUT_BLANKS, text):
            text = in_joined.sub(lambda found: f" {english[found[0]]} ", text)
        words, said, at = text.split(), [], 0
        while at < len(words):
            lengths = range(min(most_words, len(words) - at), 0, -1)
            n = next((n for n in lengths if " ".join(words[at : at + n]) in english), 0)
            said.append(english[" ".join(words[at : at + n])] if n else words[at])
            at += n or 1
        return " ".join(said)

    return translate
