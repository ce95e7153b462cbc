"""XML from outside, for the dialects that are written in it: bounded, and without entities."""

import codecs
import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from data_pipeline.night import RecordingError

MAX_BYTES = 8 * 2**20
"""Ten thousand events take about 3 MB. A hostile file of this size takes a few hundred MB of memory."""
_BEFORE_DECLARATION = re.compile(rb"\s*+(?:(?><!--.*?-->)\s*+)++(?=<\?xml)", re.DOTALL)
"""Comments that some exporters write before the XML declaration, where XML allows none. It never backtracks."""


def is_xml(path: Path) -> bool:
    """Whether the file begins as XML does, whatever its name."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head[2:4].strip(b"\0") == b"<"
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")


def read_xml(path: Path, root: str | None = None) -> Element:
    """The root element of an XML file; `root` is the name it must have.

    Raises:
      RecordingError: larger than `MAX_BYTES`, not well-formed, in an unknown encoding, another root element, or
        with a document type: entities can grow without bound or name other files, and a scoring needs none.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise RecordingError(path, f"{size} bytes of XML, expected a scoring of at most {MAX_BYTES}.")
    return parse_xml(path, path.read_bytes(), root)


def parse_xml(path: Path, data: bytes, root: str | None = None) -> Element:
    """As `read_xml`, for the bytes of an XML file that lies inside another; `path` is for messages."""
    if comments := _BEFORE_DECLARATION.match(data):
        data = data[comments.end() :]
    try:
        element = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        problem = "it declares a document type or entities, which are not read. Export it without <!DOCTYPE>."
        raise RecordingError(path, problem) from error
    except (ParseError, LookupError, ValueError) as error:
        raise RecordingError(path, f"damaged XML ({error}). Export or download it again.") from error
    if root is not None and local_name(element) != root:
        raise RecordingError(path, f"its root element is another than <{root}>. Is it an export of another program?")
    return element


def local_name(element: Element) -> str:
    """The name of an element without its name space."""
    return element.tag.rpartition("}")[2]


def named(element: Element, name: str) -> Iterator[Element]:
    """All elements of a name below another, whatever the name space, in the file's order."""
    return (e for e in element.iter() if local_name(e) == name)


def text_of(element: Element, name: str) -> str:
    """The text of a child element, outer blanks removed; "" when there is none."""
    return (element.findtext(name) or "").strip()


def seconds_of(path: Path, element: Element, name: str, place: int) -> float:
    """The seconds in a child element. `place` counts the elements of this kind, for messages.

    Raises:
      RecordingError: missing, or not a finite number.
    """
    try:
        value = float(text_of(element, name))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordingError(path, f"<{element.tag}> {place} has no <{name}> in seconds.")
    return value


def span_of(path: Path, element: Element, place: int) -> tuple[float, float | None]:
    """(onset_s, duration_s) of a <ScoredEvent>, which both dialects write alike; None where no duration is written.

    Raises:
      RecordingError: no start, a value that is no number, or a negative duration.
    """
    onset_s = seconds_of(path, element, "Start", place)
    duration_s = seconds_of(path, element, "Duration", place) if text_of(element, "Duration") else None
    if duration_s is not None and duration_s < 0:
        raise RecordingError(path, f"<{element.tag}> {place} lasts {duration_s:g} s, expected 0 or more.")
    return onset_s, duration_s
