"""Carrying out a work order: load, warm up, measure, profile, write."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.config.pipeline import Output
from llm_perf_opt.errors import StageError
from llm_perf_opt.hardware.host import cpu_model
from llm_perf_opt.hardware.sampler import HardwareSampler
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.workload import DeviceFacts, Instrumented, Memory, ModelFacts, Workload
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.building import resolve_device
from llm_perf_opt.workload.capture import capturing, check_capture, ranges_sent
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.fingerprint import work_fingerprint
from llm_perf_opt.workload.instrument import instrumented_run
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.measure import Measured, Session
from llm_perf_opt.workload.memory import MemoryWatch
from llm_perf_opt.workload.order import PROFILE, RESULT, WorkOrder
from llm_perf_opt.workload.out_of_memory import naming_phase
from llm_perf_opt.workload.outputs import settings_of, write_outputs
from llm_perf_opt.workload.profiling import profile_sample, usable_activities


def carry_out(order: WorkOrder, events: EventWriter) -> None:
    """Do everything the order asks for; records appear in its output directory as they are known."""
    config = order.config
    device = resolve_device(config.device)
    events.device(str(device))
    check_capture(order.capture, device, events)
    memory, sampler = MemoryWatch(device), HardwareSampler(_gpu_uuid(device))
    events.phase("load", 0, 1)
    start = time.perf_counter()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    adapter = find_adapter(config.model.name)
    with memory.phase("load"), naming_phase("load"):
        loaded = adapter.load(config, device)
    load_s = time.perf_counter() - start

    session = Session(order, loaded, events)
    activities, note = usable_activities(config.pipeline.torch_profiler, device) if order.profile else ([], None)
    with memory.phase("warm-up"):
        warmups = session.warm_up(config.measure.warmup)
    with memory.phase("timed repeats"), sampler, capturing(session):
        measured = session.measure()
    notes = (*((note,) if note else ()), *session.notes)
    record = _record(session, measured, memory.record(), sampler.state(), load_s=load_s, warmups=warmups, notes=notes)
    _write(order.output_dir / RESULT, record)
    if measured.work:
        instrumented = _instrument(session, measured, memory)
        record = record.model_copy(update={"memory": memory.record(), "instrumented": instrumented})
        _write(order.output_dir / RESULT, record)
    write_outputs(order, settings_of(_output(order), adapter.output_family), loaded, measured, events)
    if order.profile and measured.work:
        profile = profile_sample(session, measured.work[0].samples[0], activities, order.output_dir)
        _write(order.output_dir / PROFILE, profile)
    if not measured.work:
        raise StageError(
            f"none of the {len(measured.errors)} samples could be run; the first: {measured.errors[0].error}",
            "check the dataset",
        )


def _instrument(session: Session, measured: Measured, memory: MemoryWatch) -> Instrumented:
    if not session.order.profile:
        return Instrumented(reason=f"{session.order.stage} makes timed repeats only; torch_profiler times modules")
    return instrumented_run(session, measured.work[0].samples, memory)


def _gpu_uuid(device: torch.device) -> str | None:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def _output(order: WorkOrder) -> Output:
    pipeline = order.config.pipeline
    return pipeline.direct_inference.output if order.stage == "direct_inference" else pipeline.torch_profiler.output


def _write(path: Path, record: Record) -> None:
    write_text(path, record.model_dump_json(indent=2) + "\n")


def _record(
    session: Session,
    measured: Measured,
    memory: Memory,
    hardware: HardwareState,
    *,
    load_s: float,
    warmups: int,
    notes: tuple[str, ...],
) -> Workload:
    order, loaded = session.order, session.loaded
    config = order.config
    model = _model_facts(order, loaded)
    work = [(item.batch.input_ids.tolist(), item.generation.tokens) for item in measured.work]
    return Workload(
        stage=order.stage,
        work_fingerprint=work_fingerprint(model, config.infer.execution, work) if work else None,
        model=model,
        device=_device_facts(loaded.device),
        execution=config.infer.execution,
        cache=config.infer.cache,
        load_s=load_s,
        warmup_runs=warmups,
        batches=tuple(measured.batches),
        errors=tuple(measured.errors),
        memory=memory,
        hardware=hardware,
        ranges=ranges_sent(),
        notes=notes,
    )


def _model_facts(order: WorkOrder, loaded: LoadedModel) -> ModelFacts:
    model, built = loaded.model, loaded.built
    parameters = list(model.parameters())
    return ModelFacts(
        adapter=order.config.model.name,
        model_type=model.config.model_type,
        parameters=sum(parameter.numel() for parameter in parameters),
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        dtype=str(model.dtype).removeprefix("torch."),
        weights="random" if built.weights_id.startswith("random:") else "pretrained",
        weights_id=built.weights_id,
        attention=built.attention,
        attention_note=built.attention_note,
        config=_model_config(model),
    )


def _model_config(model: Any) -> dict[str, Any]:
    """What the configuration sets beyond its defaults; which transformers wrote it is no part of the model."""
    found: dict[str, Any] = json.loads(json.dumps(model.config.to_diff_dict(), default=str))
    found.pop("transformers_version", None)
    return found


def _device_facts(device: torch.device) -> DeviceFacts:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = cpu_model() or platform.processor() or platform.machine()
    return DeviceFacts(
        device=str(device),
        name=name,
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        transformers_version=transformers.__version__,
        cuda_version=torch.version.cuda,
    )
