"""PhysioNet/Computing in Cardiology Challenge 2026: nights of several hospitals, scored by experts and by a program.

How to get it: https://physionetchallenges.org/2026/; folders, for each site:

    physiological_data/S0001/sub-S0001…_ses-1.edf
    human_annotations/S0001/sub-S0001…_ses-1_expert_annotations.edf     `annotations.bdsp`
    algorithmic_annotations/…                                           a program's, never read as truth
    demographics.csv                                                    `_bdsp`; the label of the Challenge is not read

What the experts looked for is what their file has a signal for: `stage_expert`, `resp_expert`, `arousal_expert`,
`limb_expert`.
"""

from collections.abc import Sequence
from pathlib import Path

from data_pipeline.annotations.bdsp import families_in
from data_pipeline.cohorts import Source
from data_pipeline.cohorts._bdsp import Night, read_people, table_above
from data_pipeline.cohorts._names import existing, named_recordings
from data_pipeline.cohorts._tables import clean
from data_pipeline.night import BREATHING_EVENTS, Demographics, EventKind, RecordingError

_SCORED = {
    "stage": frozenset({"stages"}),
    "resp": BREATHING_EVENTS | {EventKind.RERA},
    "arousal": frozenset({EventKind.AROUSAL}),
    "limb": frozenset({EventKind.LIMB_MOVEMENT}),
}


def find_nights(inputs: Sequence[Path]) -> list[Source]:
    """Every `sub-…_ses-….edf` among the files given and under the folders given.

    Raises:
      ValueError: an input that is not there or holds none, or a table without its columns.
    """
    tables: dict[Path | None, dict[Night, Demographics]] = {None: {}}
    sources = []
    for path, name in named_recordings(inputs, r"((sub-([A-Z]\d{4})\d+)_ses-(\w+))\.edf", "sub-S0001…_ses-1.edf"):
        if "annotations" in name[4].lower():
            continue
        table = table_above(path, "demographics.csv")
        if table not in tables:
            tables[table] = read_people(table)
        expert = f"{path.stem}_expert_annotations.edf"
        top = next((f for f in path.resolve().parents if f.name == "physiological_data"), path.resolve().parent)
        place = path.resolve().parent.relative_to(top)
        scoring = existing(top.parent / "human_annotations" / place / expert, path.with_name(expert))[:1]
        person = tables[table].get((name[2].lower(), clean(name[4])), Demographics())
        sources.append(
            Source(
                night_id=name[1],
                subject_id=name[2],
                site=name[3].upper(),
                recording=path,
                scoring=scoring,
                demographics=person,
                scored=_scored(scoring[0]) if scoring else None,
                dialect="bdsp_edf",
            )
        )
    return sources


def _scored(path: Path) -> frozenset[str] | None:
    try:
        return frozenset().union(*(_SCORED[family] for family in families_in(path)))
    except RecordingError:
        return None  # the scoring will be refused by its reader, with the reason
