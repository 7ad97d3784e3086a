"""Where everything is in a run directory: each file name is written here and nowhere else.

It imports nothing of ours, so every room may use it.
"""

from __future__ import annotations

from pathlib import Path

# The run itself.
MANIFEST = "run.json"
RUN_LOG = "llmperf.log"
"""What happened and when, a line each, for a person; tracebacks of defects too."""
CONFIG = "config.yaml"
ENVIRONMENT = "env.json"
INPUTS = "inputs.yaml"
SUMMARY = "summary.json"
REPORT = "report.md"
"""Of the run; stages and regions have one of that name too."""
REPORT_HTML = "report.html"
BUNDLE = "report.zip"
"""The page with its gallery and tables, to send."""

# An A/B: two runs and what was found.
AB = "ab.json"
SIDE_A = "a"
SIDE_B = "b"
COMPARISON_DIR = "comparison"
COMPARISON = "comparison.json"
COMPARISON_REPORT = "comparison.md"
COMPARISON_HTML = "comparison.html"

# The trend of many runs.
TREND = "trend.json"

# A stage that times the model.
WORKLOAD = "workload.json"
LAUNCHES = "launches.json"
"""How each launch of a stage ended, where there are several."""
TOKENS = "tokens.json"
"""Output ids of every sample."""
METRICS = "metrics.json"
PROFILE = "profile.json"
TABLES = "profile.sqlite"
MODULES = "modules.json"
MEMORY = "memory.json"
MEMORY_SNAPSHOT = "allocator_snapshot.pickle"
PEAKS = "peaks.json"
HARDWARE = "hardware.json"
HARDWARE_SERIES = "hardware_series.parquet"
MACHINE = "machine.json"
TRACE = "trace.json.gz"
CAPTURE_TRACE = "trace.capture.json.gz"
"""Of an import: the capture of the graphs that the trace replays."""
OPERATORS = "operators.md"
TIMELINE = "timeline*.json"
"""The time line of each capture of a stage; see `timeline_file`."""
TIMELINE_TABLE = "timeline*.parquet"
COLLECTIVES = "collectives.parquet"
"""The collectives of a rank, for the comparison of ranks."""
REPORT_FACTS = "report.facts.json"
"""What one of several reports of nsys holds, for the record of all."""
KERNEL_RUNS = "kernel_runs.parquet"
"""How long each kernel of such a report ran, for the table of all."""
DRILL_DOWN = "drill_down*.json"
"""What lies in what in each capture of a stage; see `drill_down_file`."""
PRED_DIR = "pred"
PREDICTIONS = "predictions.jsonl"
ELSEWHERE = "elsewhere.json"
"""What was written outside the run."""
VIZ_DIR = "viz"
GALLERY = "predictions.md"

# One image of the gallery, in a folder of its own.
BOXES = "result_with_boxes.jpg"
TEXT = "result.mmd"
IMAGE_INFO = "info.json"
CROPS_DIR = "images"

# Static analysis.
STATIC = "static_compute.json"
STATIC_REPORT = "static_compute.md"

# A stage that runs a tool.
COMMAND = "cmd.txt"
FACTS = "facts.json"
NSYS_OUTPUT = "run"
"""What nsys names its reports after: of several ranges `run.1.nsys-rep`, …"""
NSYS_REPORT = f"{NSYS_OUTPUT}.nsys-rep"
NSYS_EXPORT = f"{NSYS_OUTPUT}.sqlite"
KERNEL_SUMMARY = "summary_cuda_gpu_kern_sum.csv"
KERNELS = "kernels.md"
NCU_OUTPUT = "report"
NCU_REPORT = f"{NCU_OUTPUT}.ncu-rep"
RAW = "raw.csv"
DETAILS = "details.csv"
"""Of an import: a details page in place of the raw one."""
SECTIONS = "sections_report.txt"
REGIONS = "regions"
REGION = "report.json"

# Between a stage and what it starts.
ORDER = "order.json"
PRIVATE_ORDER = f".{ORDER}.private_"
"""The order as it is, while the child runs and where `order.json` hides something of it. It has the name of a temporary
file: what a killed run leaves of it is removed."""
EVENTS = "events.jsonl"
CHILD_LOG = "child.log"
IMPORT_LOG = "import.log"

LEVELS = "launch-*"
"""Names of the levels below a stage."""

FILE_NAMES = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str) and Path(value).suffix
)
"""Every name above that is a file's."""


def stage_dir(run_path: Path, stage: str) -> Path:
    """The stage's own directory."""
    return run_path / stage


def scratch_dir(run_path: Path, stage: str) -> Path:
    """Order, events and log of the child that works for a stage."""
    return run_path / "tmp" / "workload" / stage


def launch_dir(directory: Path, launch: int, launches: int) -> Path:
    """Of one of so many launches, below a stage's own directory or its scratch directory; that itself where there is
    one launch."""
    return directory if launches == 1 else directory / f"launch-{launch:02d}"


def record_dirs(stage_directory: Path) -> list[Path]:
    """Where records of a stage may be: its own directory, then that of each launch that is there, in order."""
    return [stage_directory, *sorted(stage_directory.glob(LEVELS), key=launch_of)]


def launch_of(directory: Path) -> int:
    """The number of the launch that a directory of `record_dirs` is of; 0 for the stage's own."""
    if directory.name.startswith("rank-"):
        directory = directory.parent
    number = directory.name.removeprefix("launch-")
    return int(number) if number != directory.name and number.isdecimal() else 0


def workload_dir(run_path: Path, stage: str) -> Path:
    """What llmperf's own workload itself writes under the tool of a stage."""
    return run_path / "tmp" / "workload" / "torch_profiler" / stage


def rank_dirs(directory: Path) -> list[Path]:
    """The directories of the ranks that left something in a stage's directory, in their order; none of one process."""
    found = {int(path.name.removeprefix("rank-")): path for path in directory.glob("rank-[0-9]*") if path.is_dir()}
    return [found[rank] for rank in sorted(found)]


def headline_dir(directory: Path) -> Path:
    """Where the records are that figures are quoted from: the stage's directory, of ranks that of the first."""
    first = rank_dir(directory, 0)
    return first if first.is_dir() else directory


def save_dir(output_dir: Path, configured: str | None, default: str) -> Path:
    """A `save_dir` setting as a path: null is `default`, relative is under the stage's own directory, `.` is it."""
    return output_dir / (configured if configured is not None else default)


def timeline_file(number: int | None = None) -> str:
    """Where the time of the devices went; of the `number`-th capture where a stage has several."""
    return "timeline.json" if number is None else f"timeline.{number}.json"


def timeline_table(number: int | None = None) -> str:
    """All device work of a capture."""
    return "timeline.parquet" if number is None else f"timeline.{number}.parquet"


def rank_dir(folder: Path, rank: int) -> Path:
    """What one rank of several left in a stage's directory, or in its scratch directory."""
    return folder / f"rank-{rank}"


def report_dir(folder: Path, number: int) -> Path:
    """What the `number`-th of several reports of nsys left in the stage's directory, while it is no rank's."""
    return folder / f"report-{number}"


def report_dirs(folder: Path) -> list[Path]:
    """Where several reports of nsys left something: those of ranks in their order, then the others."""
    return [
        *rank_dirs(folder),
        *sorted(folder.glob("report-[0-9]*"), key=lambda path: int(path.name.partition("-")[2])),
    ]


def collectives_file(process: int) -> str:
    """The collectives of the `process`-th process of a report of nsys."""
    return f"collectives.{process}.parquet"


def drill_down_file(number: int | None = None) -> str:
    """What lies in what in a capture, and its longest events."""
    return "drill_down.json" if number is None else f"drill_down.{number}.json"


def export_log(number: int) -> str:
    """Of exporting the `number`-th report of a capture."""
    return f"export.{number}.log"
