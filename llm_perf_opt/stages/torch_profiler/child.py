"""The part of the profiler's stage in the child: the instrumented run, then the profiled sample.

What the PyTorch profiler saw is folded into tables while the events are in memory.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.cuda.graph_annotations import get_kernel_annotations
from torch.profiler import ProfilerActivity

from llm_perf_opt.analysis.timeline.modules import OUR_MODULES
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import MODULES, PROFILE, TRACE
from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.captures.trace import event_count, phase_ms, write_profile_tables
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.stages.torch_profiler.child_events import live_events
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler
from llm_perf_opt.workload.instrument import instrumented_run
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


def usable_activities(settings: TorchProfiler, device: torch.device) -> tuple[list[str], str | None]:
    """The activities that can be recorded on `device`, and a note where one was dropped."""
    if "cuda" in settings.activities and device.type != "cuda":
        kept: list[str] = [name for name in settings.activities if name != "cuda"] or ["cpu"]
        return kept, f"activity cuda dropped: the model runs on {device.type}"
    return list(settings.activities), None


def profile_sample(session: Session, settings: TorchProfiler, sample: int, output_dir: Path) -> Profile:
    """Run `sample` once under the profiler; write its trace and tables into `output_dir`."""
    activities, note = usable_activities(settings, session.loaded.device)
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
            work = session.run_once((sample,), ranges, most_steps=settings.steps)
        session.clock.synchronize()
        wall_ms = (time.perf_counter() - start) * 1e3
    session.events.phase("tables", 0, 1)
    events = live_events(
        profiler_events(profiler), by_shape=settings.group_by_input_shape, annotations=get_kernel_annotations()
    )
    captured = analyse(events, TRACE, modules=OUR_MODULES | set(session.loaded.modules()))
    write_profile_tables(captured, output_dir)
    _export_trace(profiler, output_dir / TRACE)
    steps = len(work.repeat.step_ms)
    most_steps = session.loaded.most_new(work.batch, session.infer.max_new_tokens) - 1
    return Profile(
        sample=sample,
        decode_steps=steps,
        # Fewer than it was allowed: the text ended.
        whole=settings.steps is None or steps < settings.steps or steps == most_steps,
        activities=tuple(activities),
        events=event_count(events),
        wall_ms=wall_ms,
        phase_ms=phase_ms(captured),
        warmup_runs=warmups,
        notes=() if note is None else (note,),
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
        packed = Path(folder) / TRACE
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        packed.replace(path)
