"""What torch does not promise to keep and the workload asks for: named here alone.

tests/unit/workload/test_private_names.py fails for a release that has moved one.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def graphs_compiled() -> int | None:
    """How many graphs torch.compile has made in this process; None where this torch does not count them."""
    try:
        counters: Any = torch._dynamo.utils.counters
        return int(counters["stats"]["unique_graphs"])
    except (AttributeError, KeyError, TypeError):
        return None


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
