"""What lies beside recordings and is not used: named, so that nothing that somebody meant to give vanishes."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from data_pipeline.cohorts import Source, files_under, is_of_the_system
from data_pipeline.night import RecordingError
from data_pipeline.readers import files_of
from data_pipeline.shards.manifest import MANIFEST


def left_beside(inputs: Sequence[Path], sources: Sequence[Source], used: Collection[Path]) -> tuple[Path, ...]:
    """Every file in the folders given that no night is made of, whatever its suffix, those named like nights first.

    Beside a recording that is given as a file, only what is named like it counts. What an operating system leaves,
    and the shards in a prepared folder, are nobody's data.

    Args:
      used: files that were read beside those of the sources.
    """
    taken = {path for source in sources for path in (*_files_of(source), *source.scoring)} | set(used)
    stems = {path.stem.casefold() for source in sources for path in (source.recording, *source.parts)}
    stems |= {source.night_id.casefold() for source in sources}
    prepared: dict[Path, bool] = {}
    left = []
    for path in dict.fromkeys(_candidates(inputs, stems)):
        if path not in taken and not is_of_the_system(path):
            if path.parent not in prepared:
                prepared[path.parent] = (path.parent / MANIFEST).is_file()
            if not prepared[path.parent]:
                left.append(path)
    return tuple(sorted(left, key=lambda path: (not _is_named_like(path, stems), path)))


def _files_of(source: Source) -> Iterator[Path]:
    for path in (source.recording, *source.parts):
        try:
            yield from files_of(path)
        except (RecordingError, OSError):  # it will be refused with the reason
            yield path


def _candidates(inputs: Sequence[Path], stems: Collection[str]) -> Iterator[Path]:
    for given in map(Path, inputs):
        if given.is_dir():
            yield from files_under(given)
        else:
            beside = (path for path in given.parent.iterdir() if path.is_file() and path not in inputs)
            yield from (path for path in beside if _is_named_like(path, stems))


def _is_named_like(path: Path, stems: Collection[str]) -> bool:
    """Whether a name begins as a recording's does, and goes on with no letter or number."""
    name = path.name.casefold()
    return any(name[:end] in stems for end in range(1, len(name)) if not name[end].isalnum())
