"""Sheets of Excel (`.xlsx`): a table or a list of stages as in a text file.

A workbook is XML in a zip archive (ECMA-376): `xl/workbook.xml` lists the sheets, `xl/sharedStrings.xml` holds the
texts, `xl/styles.xml` says which numbers are dates: days since 30 December 1899 (1 January 1904 where the workbook
says so). Only these are unpacked, each to `MAX_BYTES` at most; formulas are not run, what was last shown counts.
"""

import datetime
import io
import re
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from xml.etree.ElementTree import Element

from data_pipeline.annotations.columns import columns_in
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import MAX_BYTES, named, parse_xml
from data_pipeline.annotations.stage_list import rows_of_list
from data_pipeline.annotations.table import rows_to_marks
from data_pipeline.annotations.text import read_bytes
from data_pipeline.night import RecordingError

MAGIC = b"PK\x03\x04"
_BOOK, _TEXTS, _STYLES = "xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml"
_LONGEST_PREAMBLE = 60
_MOST_COLUMNS = 256
_DATE_FORMATS = frozenset({*range(14, 23), *range(45, 48)})
"""Built-in number formats of dates and times."""
_REFERENCE = re.compile(r"([A-Z]{1,3})\d+")


def read_xlsx(path: Path, own: Collection[str] = ()) -> Marks:
    """The marks of the one sheet that is a scoring. Arguments as in `read_table`.

    Raises:
      RecordingError: no workbook, damaged or too large, no sheet or several that are a scoring, or what
        `rows_to_marks` refuses.
    """
    header, rows = read_sheet(path, own)
    return rows_to_marks(path, header, rows, own)


def read_sheet(path: Path, own: Collection[str] = ()) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Header and rows of the one sheet that is a scoring; raises as `read_xlsx`."""
    found = [table for grid in _sheets(path) if (table := _table(grid, own)) is not None]
    if len(found) != 1:
        what = (
            f"{len(found)} sheets are scorings" if found else "no sheet has a header such as onset_s,duration_s,stage"
        )
        raise RecordingError(path, f"{what}, expected one. Save the scoring as a workbook of its own, or as CSV.")
    return found[0]


def _table(grid: list[list[str]], own: Collection[str]) -> tuple[list[str], list[tuple[str, list[str]]]] | None:
    """Header and rows of a sheet, None where it is no scoring."""
    rows = [(f"row {n}", row) for n, row in enumerate(grid, start=1) if any(row)]
    for place, (_, header) in enumerate(rows[:_LONGEST_PREAMBLE]):
        columns = columns_in(header, own=own)
        if columns.is_told and (columns.is_timed or columns.stage is not None):
            width = max(k for k, cell in enumerate(header) if cell) + 1
            return header[:width], [(w, row + [""] * (width - len(row))) for w, row in rows[place + 1 :]]
    return rows_of_list([(where, [cell for cell in row if cell]) for where, row in rows]) if rows else None


def _sheets(path: Path) -> list[list[list[str]]]:
    """The cells of each sheet as text."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            names = set(archive.namelist())
            if _BOOK not in names:
                raise RecordingError(path, "a zip archive and no Excel workbook. Unpack it, or save it as .xlsx.")
            book = parse_xml(path, _unpacked(path, archive, _BOOK))
            is_1904 = any(e.get("date1904") in ("1", "true") for e in named(book, "workbookPr"))
            texts = _texts(parse_xml(path, _unpacked(path, archive, _TEXTS))) if _TEXTS in names else []
            dates = _date_styles(parse_xml(path, _unpacked(path, archive, _STYLES))) if _STYLES in names else set()
            sheets = sorted(n for n in names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", n))
            grids = (parse_xml(path, _unpacked(path, archive, name)) for name in sheets[:16])
            return [_grid(path, sheet, texts, dates, is_1904) for sheet in grids]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(path, f"damaged workbook ({type(error).__name__}). Save it again, or as CSV.") from error


def _unpacked(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise RecordingError(path, f"a part of it unpacks to more than {MAX_BYTES >> 20} MB, expected one night.")
    return data


def _texts(strings: Element) -> list[str]:
    return ["".join(part.text or "" for part in named(item, "t")) for item in named(strings, "si")]


def _date_styles(styles: Element) -> set[int]:
    """Which cell styles show a date or a time."""
    own = {e.get("numFmtId"): e.get("formatCode", "") for e in named(styles, "numFmt")}
    formats = [e for cells in named(styles, "cellXfs") for e in cells]

    def is_date(number: str) -> bool:
        code = re.sub(r'"[^"]*"|\[[^\]]*\]|\\.', "", own.get(number, "")).lower()
        return (number.isdecimal() and int(number) in _DATE_FORMATS) or re.search(
            r"[hy]|d{1,4}[-./]|m:s", code
        ) is not None

    return {place for place, e in enumerate(formats) if is_date(e.get("numFmtId", ""))}


def _grid(path: Path, sheet: Element, texts: list[str], dates: set[int], is_1904: bool) -> list[list[str]]:
    grid = []
    for row in named(sheet, "row"):
        cells: list[str] = []
        for cell in named(row, "c"):
            reference = _REFERENCE.fullmatch(cell.get("r", ""))
            place = _column(reference[1]) if reference else len(cells)
            if place >= _MOST_COLUMNS:
                raise RecordingError(path, f"more than {_MOST_COLUMNS} columns, expected the scoring of one night.")
            cells += [""] * (place + 1 - len(cells))
            cells[place] = _cell(cell, texts, dates, is_1904)
        grid.append(cells)
    return grid


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _cell(cell: Element, texts: list[str], dates: set[int], is_1904: bool) -> str:
    value = next((e.text or "" for e in named(cell, "v")), "").strip()
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return "".join(part.text or "" for part in named(cell, "t")).strip()
    if kind == "s":
        return texts[int(value)].strip() if value.isdecimal() and int(value) < len(texts) else ""
    style = cell.get("s", "0")
    if kind == "n" and value and style.isdecimal() and int(style) in dates:
        return _date(float(value), is_1904)
    return value


def _date(days: float, is_1904: bool) -> str:
    """A number of days as text: a clock time below a day, else a date with one."""
    zero = datetime.datetime(1904, 1, 1) if is_1904 else datetime.datetime(1899, 12, 30)
    if not 0 <= days < 100_000:
        raise ValueError("no date")
    moment = zero + datetime.timedelta(milliseconds=round(days * 86_400_000))
    clock = moment.strftime("%H:%M:%S.%f")[:-3]
    return clock if days < 1 else f"{moment.date().isoformat()} {clock}"
