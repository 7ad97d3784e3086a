"""What kind of capture a file is, from its content."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.formats import ncu_rep
from llm_perf_opt.formats.nsys_export import is_export
from llm_perf_opt.formats.nsys_stats import is_summary_header
from llm_perf_opt.formats.torch_trace import looks_like_trace, unpacked_start
from llm_perf_opt.records.manifest import FileKind

SQLITE_MAGIC = b"SQLite format 3\0"
NSYS_MAGIC = b"NVIDIA Tegra Profiler Report"
LOOKED_AT_BYTES = 1 << 20
KINDS = (
    "an nsys report or its SQLite export, a kernel table of nsys stats (cuda_gpu_kern_sum, CSV), an ncu report or its "
    "raw page (CSV), a trace of torch.profiler (JSON, may be gzip)"
)


def recognise(path: Path) -> FileKind:
    """The kind of a file.

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
    kind = _binary_kind(path, start) or _text_kind(path, start)
    if kind is None:
        raise ConfigError(f"{path} is none of the files that can be imported", f"these can: {KINDS}")
    return kind


def _binary_kind(path: Path, start: bytes) -> FileKind | None:
    if start.startswith(NSYS_MAGIC):
        return "nsys_report"
    if ncu_rep.is_report(start):
        return "ncu_report"
    if not start.startswith(SQLITE_MAGIC):
        return None
    try:
        return "nsys_sqlite" if is_export(path) else None
    except StageError:
        return "nsys_sqlite"  # damaged: said when it is read, and it alone fails


def _text_kind(path: Path, start: bytes) -> FileKind | None:
    if looks_like_trace(start):
        return "torch_trace"
    for line in start.decode("utf-8", errors="replace").splitlines():
        if is_summary_header(line):
            return "nsys_kernel_table"
        if line.startswith(('"ID",', "ID,")) and "Kernel Name" in line:
            if "Metric Name" in line:
                raise ConfigError(
                    f"{path} is the details page of an ncu report, which leaves out most metrics",
                    "import the report itself, or its raw page: ncu --import FILE --csv --page raw",
                )
            return "ncu_raw_csv"
    return None
