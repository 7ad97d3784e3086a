"""What torch does not promise to keep and the workload asks for: named here alone.

tests/unit/workload/test_private_names.py fails for a release that has moved one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llm_perf_opt.errors import StageError

EVENT_METHODS = (
    "activity_type",
    "correlation_id",
    "device_index",
    "device_resource_id",
    "device_type",
    "duration_ns",
    "is_python_function",
    "is_user_annotation",
    "linked_correlation_id",
    "metadata_json",
    "name",
    "shapes",
    "start_ns",
    "start_thread_id",
)
"""Of an event in the memory of the profiler."""


@dataclass(frozen=True)
class Compiling:
    """One compilation of one function."""

    key: str
    """Tells it apart from the others of this process."""
    function: str
    reason: str | None
    """Which guard did not hold; None for the first of the function."""
    seconds: float
    skipped_cuda_graph: str | None
    """Why it has no CUDA graph, where it was to have one."""


@dataclass(frozen=True)
class CompileHistory:
    """What torch.compile has done in this process."""

    graphs: int
    breaks: Mapping[str, int]
    """Reason → how often."""
    cuda_graphs_skipped: int
    compilations: tuple[Compiling, ...]
    """The last of them: torch keeps some dozens."""


def compile_history() -> CompileHistory | None:
    """What torch has counted of it; None where this torch does not."""
    try:
        utils: Any = torch._dynamo.utils
        counters = utils.counters
        return CompileHistory(
            graphs=int(counters["stats"]["unique_graphs"]),
            breaks={_first_line(reason): int(count) for reason, count in counters["graph_break"].items()},
            cuda_graphs_skipped=int(counters["inductor"]["cudagraph_skips"]),
            compilations=tuple(_compiling(item) for item in utils.get_compilation_metrics()),
        )
    except (AttributeError, KeyError, TypeError):
        return None


def _compiling(item: Any) -> Compiling:
    reason = item.recompile_reason
    return Compiling(
        key=str(item.compile_id),
        function=str(item.co_name),
        reason=None if reason is None else _first_line(reason),
        seconds=float(item.entire_frame_compile_time_s or 0.0),
        skipped_cuda_graph=getattr(item, "cudagraph_skip_reason", None),
    )


def _first_line(text: str) -> str:
    """Without torch's hints and the reader's own code below, and without the runs of blanks in it."""
    return " ".join(text.split("\n", 1)[0].split())


def profiler_events(profiler: torch.profiler.profile) -> Sequence[Any]:
    """The events that the profiler holds in memory.

    Raises:
        StageError: this torch does not give them.
    """
    results: Any = getattr(profiler.profiler, "kineto_results", None)
    events: Sequence[Any] = results.events() if hasattr(results, "events") else ()
    lacking = [name for name in EVENT_METHODS if events and not hasattr(events[0], name)]
    if results is None or not hasattr(results, "events") or lacking:
        what = ", ".join(lacking) or "kineto_results"
        raise StageError(
            f"torch {torch.__version__} does not give the profiler's events as known ({what} is missing): timed "
            "repeats are kept, there is no profile",
            "install the torch that llmperf is tested with, see its pyproject.toml",
        )
    return events


def storage_address(storage: torch.UntypedStorage) -> int:
    """What tells two live storages apart, of no bytes too."""
    return int(storage._cdata)


def dump_allocator_snapshot(path: Path) -> bool:
    """Write the CUDA allocator's account of its blocks now; False where this torch offers none."""
    dump = getattr(torch.cuda.memory, "_dump_snapshot", None)
    if dump is None:
        return False
    dump(str(path))
    return True


def has_nvtx() -> bool:
    """Whether ranges of `torch.cuda.nvtx` go anywhere: builds without CUDA have a stub that raises."""
    return hasattr(torch._C, "_nvtx")
