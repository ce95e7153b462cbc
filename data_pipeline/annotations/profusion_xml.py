"""Profusion XML (`*-profusion.xml`), the export of the Compumedics scoring software.

The root is <CMPStudyConfig>. <ScoredEvents> holds the events (<ScoredEventSettings> only lists what could be
scored), with <Name>, <Start> and <Duration> in seconds from the first sample; <SleepStages> has one code an epoch
of <EpochLength> seconds: 0 W, 1-3 N1-N3, 4 N3 (R&K), 5 REM, 6 movement, 9 unscored, 10 artifact.
"""

from pathlib import Path

from data_pipeline.annotations.marks import Marks
from data_pipeline.annotations.safe_xml import read_xml, seconds_of, span_of, text_of
from data_pipeline.night import RecordingError
from data_pipeline.readers.recording import Annotation, in_order

ROOT = "CMPStudyConfig"


def read_profusion_xml(path: Path) -> Marks:
    """All scored events and stages, sorted by onset; stages are spelled "Sleep stage <code>".

    Raises:
      RecordingError: not such a file, no epoch length, or an event without a start.
    """
    study = read_xml(path, ROOT)
    annotations = []
    for place, event in enumerate(study.iterfind("ScoredEvents/ScoredEvent"), start=1):
        annotations.append(Annotation(*span_of(path, event, place), text_of(event, "Name")))
    epoch_s = seconds_of(path, study, "EpochLength", 1)
    if epoch_s <= 0:
        raise RecordingError(path, f"<EpochLength> is {epoch_s:g} s, expected more than 0.")
    for epoch, stage in enumerate(study.iterfind("SleepStages/SleepStage")):
        code = (stage.text or "").strip()
        annotations.append(Annotation(epoch * epoch_s, epoch_s, f"Sleep stage {code}"))
    return Marks(in_order(annotations))
