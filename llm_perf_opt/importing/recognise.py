"""What kind of capture a file is, from its content: every importer is asked."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.formats.json_chunks import unpacked_start
from llm_perf_opt.importing.importer import Importer
from llm_perf_opt.registry import IMPORTERS

LOOKED_AT_BYTES = 1 << 20


def is_kind(path: Path) -> bool:
    """Whether a file of a folder can be imported; one that cannot be read counts as one, and is refused later."""
    try:
        recognise(path)
    except ConfigError:
        return False
    except MissingError:
        return True
    return True


def recognise(path: Path) -> tuple[str, Importer]:
    """The kind of a file, and who imports it.

    Raises:
        MissingError: it is not there, or may not be read.
        ConfigError: it is no file, empty, or of none of the kinds.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a directory" if path.is_dir() else "no regular file"
            raise ConfigError(f"{path} is {what}", "name the files to import")
        start = unpacked_start(path, LOOKED_AT_BYTES)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise MissingError(f"{path} cannot be read: {words}", "name a file that can be read") from error
    if not start:
        raise ConfigError(f"{path} is empty", "export it again, or copy it again")
    importers = [importer for _, importer in IMPORTERS.all(Importer)]
    for importer in importers:
        kind = importer.recognise(path, start)
        if kind is not None:
            return kind, importer
    known = "; ".join(words for importer in importers for words in importer.kinds.values())
    raise ConfigError(f"{path} is none of the files that can be imported", f"these can: {known}")
