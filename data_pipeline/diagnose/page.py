"""A picture of what is usable when: one row a channel, one colour a fault; and a page with the table beside it."""

import base64
import io
from html import escape
from pathlib import Path

import numpy as np

from data_pipeline.diagnose.diagnosis import Diagnosis
from data_pipeline.modalities import MODALITY_OF
from data_pipeline.night import Quality
from data_pipeline.whole_files import write_whole

COLOURS = {
    Quality.GAP: ("nothing recorded", "#bdbdbd"),
    Quality.FLAT: ("flat", "#4d4d4d"),
    Quality.CLIPPED: ("clipped", "#e69f00"),
    Quality.OUT_OF_RANGE: ("out of range", "#cc79a7"),
    Quality.DISCONNECTED: ("disconnected", "#d55e00"),
    Quality.MAINS: ("swamped by mains", "#56b4e9"),
    Quality.DROPPED: ("samples lost", "#0072b2"),
}
"""Words and colours (Okabe and Ito 2008, told apart by the colour-blind), the first of several wins."""
_GOOD = "#e8f3ec"
_COLUMNS = 1200


def write_report(diagnosis: Diagnosis, path: Path) -> None:
    """Writes a diagnosis as a page that stands by itself (.html) or as the picture alone (.png).

    >>> from data_pipeline.diagnose.diagnosis import diagnose
    >>> write_report(diagnose(Path("night.edf")), Path("quality.html"))

    Raises:
      ValueError: another ending, or a recording without any usable channel.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".png"):
        raise ValueError(f"{path}: a report is .html or .png")
    if path.suffix.lower() == ".png" and not diagnosis.quality:
        raise ValueError(f"{diagnosis.file}: no usable channel, so there is no picture; an .html report says why")
    data = _page(diagnosis).encode() if path.suffix.lower() == ".html" else _picture(diagnosis)
    write_whole(path, data)


def _codes(quality: np.ndarray) -> np.ndarray:
    """(seconds,) flags -> (<= 1200,) places in `COLOURS`, from 1, 0 for good; the worst second of a column shows."""
    codes = np.zeros(len(quality), np.uint8)
    for place, flag in reversed(list(enumerate(COLOURS, start=1))):
        codes[(quality & flag) != 0] = place
    n = min(len(codes), _COLUMNS)
    starts = np.arange(n) * len(codes) // n
    worst = np.where(codes == 0, 255, codes)  # the first in the table is the worst
    least = np.minimum.reduceat(worst, starts)
    return np.where(least == 255, 0, least).astype(np.uint8)


def _picture(diagnosis: Diagnosis) -> bytes:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    slots = [slot for slot in MODALITY_OF if slot in diagnosis.quality]
    rows = np.stack([_codes(diagnosis.quality[slot]) for slot in slots])
    seconds = len(diagnosis.quality[slots[0]])
    figure = Figure(figsize=(11, 1.3 + 0.27 * len(slots)), dpi=110, layout="constrained")
    axes = figure.subplots()
    colours = ListedColormap([_GOOD, *(colour for _, colour in COLOURS.values())])
    unit_s, unit = (3600, "hours") if seconds >= 2 * 3600 else (60, "minutes") if seconds >= 120 else (1, "seconds")
    each_its_own = {"cmap": colours, "vmin": -0.5, "vmax": len(COLOURS) + 0.5, "interpolation": "nearest"}
    axes.imshow(rows, aspect="auto", extent=(0, seconds / unit_s, len(slots) - 0.5, -0.5), **each_its_own)
    axes.set_yticks(range(len(slots)), slots, fontsize=8)
    axes.set_yticks(np.arange(len(slots) - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    start = f" from {diagnosis.start_clock}" if diagnosis.start_clock else ""
    axes.set_xlabel(f"{unit} of recording{start}", fontsize=9)
    there = np.unique(rows)
    words = [("good", _GOOD), *COLOURS.values()]
    patches = [Patch(color=words[code][1], label=words[code][0]) for code in there]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(patches), fontsize=8, frameon=False)
    for side in axes.spines.values():
        side.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
img { width: 100% } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.n { text-align: right } .bad { color: #a33 } pre { background: #f5f5f5; padding: .8rem; overflow-x: auto }
"""


def _page(diagnosis: Diagnosis) -> str:
    head = ("label", "unit", "Hz", "slot", "good", "sure", "reason")
    rows = []
    for c in diagnosis.channels:
        faults = "".join(f"; {name.replace('_', ' ')} {share:.1%}" for name, share in c.problems.items())
        good = "" if c.good_share is None else f"{c.good_share:.0%}"
        cells = (c.label, c.unit, f"{c.rate_hz:g}", c.slot or "", good, c.confidence or "", c.reason + faults)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    table = f"<table><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>{''.join(rows)}</table>" if rows else ""
    picture = ""
    if diagnosis.quality:
        image = base64.b64encode(_picture(diagnosis)).decode()
        picture = f'<img alt="quality of each channel over time" src="data:image/png;base64,{image}">'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(diagnosis.file)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(diagnosis.file)}</h1>{picture}"
        f"<h2>What was found</h2><pre>{escape(diagnosis.to_text())}</pre>"
        f"<h2>All channels</h2>{table}</html>\n"
    )
