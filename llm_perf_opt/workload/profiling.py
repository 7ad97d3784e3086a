"""The profiled sample: what the PyTorch profiler saw, folded into tables while the events are in memory.

One sweep over the raw events with a stack gives self times and, what `key_averages()` does not know, the phase that
each operator ran in; tests/benchmarks/bench_operator_table.py compares their cost.
"""

from __future__ import annotations

import gc
import gzip
import itertools
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity

from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.config.pipeline import TorchProfiler
from llm_perf_opt.records.tables import KernelRow, OperatorRow, write_tables
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.order import TABLES, TRACE
from llm_perf_opt.workload.ranges import DECODE, PREFILL, WARMUP, Ranges, module_ranges

PHASES = frozenset({WARMUP, PREFILL, DECODE})
OUTSIDE = "outside"
PROFILER_STEP = "ProfilerStep#"  # the schedule's own label around everything


def usable_activities(settings: TorchProfiler, device: torch.device) -> tuple[list[str], str | None]:
    """The activities that can be recorded on `device`, and a note where one was dropped."""
    if "cuda" in settings.activities and device.type != "cuda":
        kept: list[str] = [name for name in settings.activities if name != "cuda"] or ["cpu"]
        return kept, f"activity cuda dropped: the model runs on {device.type}"
    return list(settings.activities), None


def profile_sample(session: Session, sample: int, activities: list[str], output_dir: Path) -> Profile:
    """Run `sample` once under the profiler; write its trace and tables into `output_dir`."""
    settings = session.order.config.pipeline.torch_profiler
    ranges = Ranges(session.order.config.measure.ranges, labelled=True)
    warmups = settings.warmup_rounds
    profiler = torch.profiler.profile(
        activities=[ProfilerActivity.CUDA if name == "cuda" else ProfilerActivity.CPU for name in activities],
        schedule=torch.profiler.schedule(wait=0, warmup=warmups, active=1, repeat=1) if warmups else None,
        record_shapes=settings.record_shapes,
        profile_memory=settings.profile_memory,
        with_stack=settings.with_stack,
    )
    with profiler:
        # The profiler itself is warmed up too: its first events pay for setting up its buffers.
        for done in range(warmups):
            session.events.phase("profiler warm-up", done, warmups)
            _profiler_warm_up(session, settings)
            profiler.step()
        session.events.phase("profile", 0, 1)
        start = time.perf_counter()
        with module_ranges(_hooked_modules(session, ranges), ranges):
            session.run_once((sample,), ranges)
        session.clock.synchronize()
        wall_ms = (time.perf_counter() - start) * 1e3
    session.events.phase("tables", 0, 1)
    results: Any = profiler.profiler.kineto_results  # type: ignore[union-attr]
    tables = fold(results.events(), by_shape=settings.group_by_input_shape)
    write_tables(output_dir / TABLES, tables.operators.values(), tables.kernels.values())
    _export_trace(profiler, output_dir / TRACE)
    return Profile(
        sample=sample,
        activities=tuple(activities),
        events=tables.events,
        wall_ms=wall_ms,
        phase_ms=tables.phase_ms,
        warmup_runs=warmups,
    )


def _hooked_modules(session: Session, ranges: Ranges) -> Mapping[str, torch.nn.Module]:
    """Modules that get a range of their own; none in a compiled or captured forward, which hooks would change."""
    return session.loaded.modules() if ranges.wants_modules and session.infer.execution == "eager" else {}


def _profiler_warm_up(session: Session, settings: TorchProfiler) -> None:
    batch = session.loaded.synthetic() if settings.warmup_synthetic else session.first_readable()
    if batch is not None:
        session.loop.generate(batch, Ranges(()))


def _export_trace(profiler: torch.profiler.profile, path: Path) -> None:
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(plain))
        packed = Path(folder) / TRACE
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        packed.replace(path)


@dataclass
class Tables:
    """Sums over the events of one profile."""

    operators: dict[tuple[str, str, str], OperatorRow] = field(default_factory=dict)
    kernels: dict[tuple[str, str], KernelRow] = field(default_factory=dict)
    phase_ms: dict[str, float] = field(default_factory=dict)
    events: int = 0


def fold(events: Sequence[Any], *, by_shape: bool = False) -> Tables:
    """Operators and kernels, by phase, of Kineto events.

    Host events of one thread nest; going through them by (thread, start, longest first) with a stack gives every
    event its children's time. Self time is its own duration less its direct children's. Total time of an operator
    that calls itself is counted once. A device event belongs to the phase of the host event that launched it.
    """
    tables = Tables(events=len(events))
    # Hundreds of thousands of small tuples are made and kept: the cycle collector would walk them again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        on_host = [event.device_type() == DeviceType.CPU for event in events]
        device = list(itertools.compress(events, (not host for host in on_host)))
        launchers = _fold_host(list(itertools.compress(events, on_host)), tables, by_shape, bool(device))
        _fold_device(device, launchers, tables)
    finally:
        if collecting:
            gc.enable()
    return tables


def _fold_host(events: Sequence[Any], tables: Tables, by_shape: bool, link: bool) -> dict[int, OperatorRow]:
    """Fill in the operators; with `link`, returns the operator of each correlation id."""
    order = sorted(
        (event.start_thread_id(), event.start_ns(), -event.duration_ns(), index) for index, event in enumerate(events)
    )
    launchers: dict[int, OperatorRow] = {}
    operators = tables.operators
    # The events around the current one, outermost first: when each ends, and its row.
    ends: list[int] = []
    rows: list[OperatorRow] = []
    active: dict[str, int] = {}
    thread: int | None = None
    for thread_id, start_ns, negative_ns, index in order:
        if thread_id != thread:
            ends, rows, active, thread = [], [], {}, thread_id
        while ends and ends[-1] <= start_ns:
            ends.pop()
            active[rows.pop().name] -= 1
        event = events[index]
        name = event.name()
        if name.startswith(PROFILER_STEP):
            continue
        phase = rows[-1].phase if rows else OUTSIDE
        if name in PHASES:
            tables.phase_ms[name] = tables.phase_ms.get(name, 0.0) - negative_ns / 1e6
            phase = name
        key = (phase, name, str(event.shapes()) if by_shape else "")
        row = operators.get(key)
        if row is None:
            row = operators[key] = OperatorRow(*key)
        row.calls += 1
        row.self_cpu_ns -= negative_ns
        if rows:
            rows[-1].self_cpu_ns += negative_ns
        depth = active.get(name, 0)
        active[name] = depth + 1
        if not depth:
            row.total_cpu_ns -= negative_ns
        ends.append(start_ns - negative_ns)
        rows.append(row)
        if link:
            launchers[event.correlation_id()] = row
    return launchers


def _fold_device(events: Sequence[Any], launchers: Mapping[int, OperatorRow], tables: Tables) -> None:
    for event in events:
        if event.is_user_annotation():  # our ranges, mirrored on the device's time line
            continue
        launcher = launchers.get(event.linked_correlation_id()) or launchers.get(event.correlation_id())
        key = (launcher.phase if launcher is not None else OUTSIDE, event.name())
        row = tables.kernels.get(key)
        if row is None:
            row = tables.kernels[key] = KernelRow(*key)
        duration_ns = event.duration_ns()
        row.calls += 1
        row.total_ns += duration_ns
        row.max_ns = max(row.max_ns, duration_ns)
        if launcher is not None:
            launcher.device_ns += duration_ns
