"""Where the kernels of a run are: its tables of device work, and the files that they are of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from llm_perf_opt.artifacts.layout import TIMELINE_TABLE, TRACE, report_dirs, timeline_file
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.kernels import Choice


@dataclass(frozen=True)
class Capture:
    """One capture of a run, or one file."""

    path: Path
    """Its table of device work, or the file that it is of."""
    first_device: int = 0
    """What its device 0 is called in the time line of the run."""
    ranks: tuple[int | None, ...] = ()
    """Of each of its devices."""


def tables_of_run(stage: Path, choice: Choice) -> list[Capture]:
    """The captures of a stage that left a table of device work; of several ranks those of each."""
    here = sorted(stage.glob(TIMELINE_TABLE))
    paths = here or [path for folder in report_dirs(stage) for path in sorted(folder.glob(TIMELINE_TABLE))]
    if choice.device is None and choice.rank is None:
        return [Capture(path) for path in paths]
    whole = _line(stage / timeline_file())
    found, after = [], 0
    for path in paths:
        line = _line(path.with_suffix(".json"))
        count = max((device.device + 1 for device in line.devices), default=0) if line is not None else 0
        first = (0 if here else after) if whole is None or line is None else _place(whole, line)
        found.append(Capture(path, first, _ranks(whole, first, count)))
        after += count
    return found


def files_of_run(stage: Path, choice: Choice) -> list[Capture]:
    """The traces or exports that a stage kept, where ranges can be looked up; in the order of its tables."""
    tables = tables_of_run(stage, choice)
    traces = [replace(table, path=table.path.parent / TRACE) for table in tables]
    if all(trace.path.is_file() for trace in traces):
        return traces
    exports = sorted(stage.glob("*.sqlite"))
    in_order = sorted(tables, key=lambda table: table.first_device)
    return (
        [replace(table, path=path) for table, path in zip(in_order, exports, strict=True)]
        if len(exports) == len(tables)
        else []
    )


def _line(path: Path) -> DeviceTimeline | None:
    try:
        return DeviceTimeline.read(path) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error


def _place(whole: DeviceTimeline, line: DeviceTimeline) -> int:
    """Where the devices of one file are among those of all ranks."""
    for device in line.devices:
        for other in whole.devices:
            if other.model_copy(update={"device": device.device, "rank": device.rank}) == device:
                return other.device - device.device
    return 0


def _ranks(whole: DeviceTimeline | None, first: int, count: int) -> tuple[int | None, ...]:
    ranks = {device.device: device.rank for device in whole.devices} if whole is not None else {}
    return tuple(ranks.get(first + number) for number in range(count))
