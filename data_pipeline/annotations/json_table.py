"""Scoring in JSON: a list of objects, one a mark, with the columns of a CSV table as keys (see `table`).

`[{"onset": 30.0, "duration": 12.5, "type": "Hypopnea"}, …]`. Keys may differ from object to object; a key that is
absent or null is an empty cell. Values are numbers and texts; other keys may hold anything and are not looked at.
"""

import json
from pathlib import Path
from typing import Any

from data_pipeline.annotations.columns import column_name, is_looked_at
from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.table import rows_to_marks
from data_pipeline.annotations.text import read_text
from data_pipeline.night import RecordingError


def read_json_table(path: Path) -> Marks:
    """The objects as annotations, sorted by onset.

    Raises:
      RecordingError: not a list of objects, or what `read_table` refuses; the object is named by its place from 1.
    """
    items = []
    for place, item in enumerate(read_json_list(path), start=1):
        if not isinstance(item, dict):
            raise RecordingError(path, f"item {place}: {type(item).__name__}, expected an object with an onset.")
        items.append({column_name(key): value for key, value in item.items() if is_looked_at(column_name(key))})
    if not items:
        return Marks(())
    header = sorted(set().union(*items))
    rows = [
        (f"item {place}", [_cell(path, place, name, item.get(name)) for name in header])
        for place, item in enumerate(items, start=1)
    ]
    return rows_to_marks(path, header, rows)


def read_json_list(path: Path) -> list[Any]:
    """The list that a JSON file holds.

    Raises:
      RecordingError: too large, not JSON, or not a list.
    """
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise RecordingError(path, f"damaged, not JSON ({error}). Export it again.") from error
    if not isinstance(value, list):
        raise RecordingError(path, f"a JSON {type(value).__name__}, expected a list of marks or of stages.")
    return value


def _cell(path: Path, place: int, key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise RecordingError(path, f"item {place}: '{key}' is a {type(value).__name__}, expected a number or a text.")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
