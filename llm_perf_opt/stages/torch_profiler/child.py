"""The part of the profiler's stage in the child: the instrumented run, then the profiled sample.

What the PyTorch profiler saw is folded into tables while the events are in memory.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.cuda.graph_annotations import get_kernel_annotations
from torch.profiler import ProfilerActivity

from llm_perf_opt.analysis.timeline.modules import OUR_MODULES
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import MODULES, PROFILE, TRACE
from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.captures.trace import event_count, phase_ms, write_profile_tables
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.workload import Profile, ProfileSize
from llm_perf_opt.stages.torch_profiler.child_bounds import (
    PROBE_STEPS,
    UNPROBED_STEPS,
    HostMemory,
    Probe,
    free_host_bytes,
)
from llm_perf_opt.stages.torch_profiler.child_events import live_events
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler
from llm_perf_opt.workload.instrument import instrumented_run
from llm_perf_opt.workload.joining import is_sharded, least_of_ranks
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.memory import MemoryWatch
from llm_perf_opt.workload.part import PartContext
from llm_perf_opt.workload.ranges import Ranges, module_ranges
from llm_perf_opt.workload.torch_private import profiler_events


def profile(context: PartContext[TorchProfiler]) -> None:
    """Run the first batch once with hooks on modules, then its first sample once under the profiler."""
    session, samples = context.session, context.measured.work[0].samples
    memory = MemoryWatch(session.loaded.device)
    instrumented = instrumented_run(session, samples, memory)
    instrumented = instrumented.model_copy(update={"memory": memory.record().phases})
    write_text(context.output_dir / MODULES, instrumented.model_dump_json(indent=2) + "\n")
    record = profile_sample(session, context.settings, samples[0], context.output_dir)
    write_text(context.output_dir / PROFILE, record.model_dump_json(indent=2) + "\n")
    if is_sharded():
        from llm_perf_opt.captures.ranks import write_collectives_of_trace

        write_collectives_of_trace(context.output_dir)


def usable_activities(settings: TorchProfiler, device: torch.device) -> tuple[list[str], str | None]:
    """The activities that can be recorded on `device`, and a note where one was dropped."""
    if "cuda" in settings.activities and device.type != "cuda":
        kept: list[str] = [name for name in settings.activities if name != "cuda"] or ["cpu"]
        return kept, f"activity cuda dropped: the model runs on {device.type}"
    return list(settings.activities), None


def profile_sample(session: Session, settings: TorchProfiler, sample: int, output_dir: Path) -> Profile:
    """Run `sample` once under the profiler; write its trace and tables into `output_dir`.

    Raises:
        StageError: there is no room for a profile of one decode step.
    """
    activities, note = usable_activities(settings, session.loaded.device)
    notes = [] if note is None else [note]
    steps, predicted = settings.steps, None
    most = _most_steps(session, sample)
    wanted = most if steps is None else min(most, steps)
    if wanted > UNPROBED_STEPS or (settings.with_stack and wanted > PROBE_STEPS[-1]):
        probe = _probe(session, settings, sample, activities, output_dir)
        room, why = probe.most_steps(wanted, session.order.config.artifacts.max_bytes, free_host_bytes())
        steps = least_of_ranks(room)
        notes += [] if why is None else [why]
        predicted = probe.of(steps)
    session.events.phase("profile", 0, 1)
    ran = _recorded(
        session, settings, sample, output_dir, activities=activities, steps=steps, warmups=settings.warmup_rounds
    )
    taken = ran.size.steps
    return Profile(
        sample=sample,
        decode_steps=taken,
        # Fewer than it was allowed: the text ended.
        whole=steps is None or taken < steps or taken == most,
        activities=tuple(activities),
        events=ran.size.events,
        wall_ms=ran.wall_ms,
        phase_ms=ran.phase_ms,
        warmup_runs=settings.warmup_rounds,
        predicted=predicted,
        taken=ran.size,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Recorded:
    """A run under the profiler."""

    size: ProfileSize
    wall_ms: float
    phase_ms: dict[str, float]


def _most_steps(session: Session, sample: int) -> int:
    """Decode steps of the sample where no text ends early."""
    batch = session.loaded.prepare([session.order.inputs.samples[sample]])
    return session.loaded.most_new(batch, session.infer.max_new_tokens) - 1


def _probe(
    session: Session, settings: TorchProfiler, sample: int, activities: Sequence[str], output_dir: Path
) -> Probe:
    """Profile prefill and a few steps again and again, and keep nothing of it but how much it was."""
    sizes = []
    for done, steps in enumerate(PROBE_STEPS):
        session.events.phase("probe", done, len(PROBE_STEPS))
        with writing(output_dir), tempfile.TemporaryDirectory(dir=output_dir, prefix=".probe.") as folder:
            ran = _recorded(session, settings, sample, Path(folder), activities=activities, steps=steps, warmups=1)
        sizes.append(ran.size)
    return Probe(*sizes[-2:])


def _recorded(
    session: Session,
    settings: TorchProfiler,
    sample: int,
    output_dir: Path,
    *,
    activities: Sequence[str],
    steps: int | None,
    warmups: int,
) -> _Recorded:
    """Run `sample` under the profiler, and write what it saw into `output_dir`."""
    ranges = Ranges(session.order.config.measure.ranges, labelled=True)
    memory = HostMemory()
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
        memory.begin()
        start = time.perf_counter()
        with module_ranges(_hooked_modules(session, ranges), ranges):
            taken = len(session.run_once((sample,), ranges, most_steps=steps).repeat.step_ms)
        session.clock.synchronize()
        wall_ms = (time.perf_counter() - start) * 1e3
        memory.forget_peak()
    session.events.phase("tables", 0, 1)
    with memory.rest():
        events = live_events(
            profiler_events(profiler), by_shape=settings.group_by_input_shape, annotations=get_kernel_annotations()
        )
        captured = analyse(events, TRACE, modules=OUR_MODULES | set(session.loaded.modules()))
        write_profile_tables(captured, output_dir)
        _export_trace(profiler, output_dir / TRACE)
    return _Recorded(
        size=ProfileSize(
            steps=taken,
            events=event_count(events),
            trace_bytes=(output_dir / TRACE).stat().st_size,
            host_bytes=memory.bytes,
        ),
        wall_ms=wall_ms,
        phase_ms=phase_ms(captured),
    )


def _hooked_modules(session: Session, ranges: Ranges) -> Mapping[str, torch.nn.Module]:
    """Modules that get a range of their own; none in a compiled or captured forward, which hooks would change."""
    return session.loaded.modules() if ranges.wants_modules and session.infer.execution == "eager" else {}


def _profiler_warm_up(session: Session, settings: TorchProfiler) -> None:
    batch = session.loaded.synthetic() if settings.warmup_synthetic else session.first_readable()
    if batch is not None:
        session.loop.generate(batch, Ranges(()), most_steps=settings.steps)


def _export_trace(profiler: torch.profiler.profile, path: Path) -> None:
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        plain = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(plain), cuda_graph_annotations=get_kernel_annotations())
        if not plain.exists():  # the profiler says why in its log alone
            free = shutil.disk_usage(folder).free
            raise StageError(
                f"the profiler could not write its trace into {path.parent}, where {free:,} bytes are free",
                "free space there, choose another place with --output, or lower pipeline.torch_profiler.steps",
            )
        packed = Path(folder) / TRACE
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        packed.replace(path)
