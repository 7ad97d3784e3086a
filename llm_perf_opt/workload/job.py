"""Executing a work order: load, warm up, make the timed repeats, then the stage's own part."""

from __future__ import annotations

import json
import platform
import time
from typing import Any

import torch
import transformers

from llm_perf_opt.analysis.cost import wants_measured_peaks
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import PEAKS, TOKENS, WORKLOAD
from llm_perf_opt.errors import StageError
from llm_perf_opt.hardware.host import cpu_model
from llm_perf_opt.records.launches import SampleTokens, Tokens
from llm_perf_opt.records.workload import DeviceFacts, Memory, ModelFacts, Workload
from llm_perf_opt.registry import load
from llm_perf_opt.workload.adapter import Adapter, find_adapter
from llm_perf_opt.workload.benchmark import peaks_for
from llm_perf_opt.workload.building import resolve_device
from llm_perf_opt.workload.capture import capturing, check_capture, ranges_sent
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.fingerprint import work_fingerprint
from llm_perf_opt.workload.joining import joined, rank_facts
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.measure import Measured, Session
from llm_perf_opt.workload.memory import MemoryWatch
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.out_of_memory import naming_phase
from llm_perf_opt.workload.outputs import settings_of, write_outputs
from llm_perf_opt.workload.part import PartContext
from llm_perf_opt.workload.ranks import Ranks
from llm_perf_opt.workload.watching import watching


def execute(order: WorkOrder, events: EventWriter, ranks: Ranks | None = None) -> None:
    """Do everything the order asks for; records appear in its output directory as they are known.

    Args:
        ranks: which part of a sharded model this process has; None: the whole model.
    """
    config = order.config
    device = resolve_device(config.device, ranks.local_rank if ranks is not None else None)
    events.device(str(device))
    check_capture(order.capture, device, events)
    if ranks is not None:
        events.phase("join", 0, 1)
    with joined(order, ranks, device):
        _run(order, events, device, ranks)


def _run(order: WorkOrder, events: EventWriter, device: torch.device, ranks: Ranks | None) -> None:
    config = order.config
    _measure_peaks(order, device, events)
    memory = MemoryWatch(device)
    events.phase("load", 0, 1)
    start = time.perf_counter()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    adapter = find_adapter(config.model.name)
    with memory.phase("load"), naming_phase("load"):
        loaded = adapter.load(config, device)
    load_s = time.perf_counter() - start
    session = Session(order, loaded, events, ranks)
    with memory.phase("warm-up"):
        warmups = session.warm_up(config.measure.warmup)
    measured = _timed(session, adapter, memory, load_s, warmups) if order.timed else Measured()
    if order.part is not None and (measured.work or not order.timed):
        settings = config.pipeline.section(order.stage)
        load(order.part)(PartContext(session, settings, measured, order.output_dir))
    if order.timed and not measured.work:
        raise StageError(
            f"none of the {len(measured.errors)} samples could be run; the first: {measured.errors[0].error}",
            "check the dataset",
        )


def _measure_peaks(order: WorkOrder, device: torch.device, events: EventWriter) -> None:
    """What the device reaches, where timings will be held against that; never beside a tool that watches."""
    name = _device_name(device)
    if order.timed and order.capture is None and wants_measured_peaks(str(device), name, order.config.hardware):
        events.phase("peaks", 0, 1)
        write_text(order.output_dir / PEAKS, peaks_for(device, name).model_dump_json(indent=2) + "\n")


def _timed(session: Session, adapter: Adapter, memory: MemoryWatch, load_s: float, warmups: int) -> Measured:
    """The timed repeats: their record and outputs."""
    order, device = session.order, session.loaded.device
    observed = watching(
        order.observers,
        order.config,
        device,
        order.output_dir,
        session.spans,
        in_the_middle=session.middle.append,
    )
    with observed as problems, memory.phase("timed repeats"), capturing(session):
        measured = session.measure()
    notes = (*session.notes, *problems)
    record = _record(session, measured, memory.record(), load_s=load_s, warmups=warmups, notes=notes)
    write_text(order.output_dir / WORKLOAD, record.model_dump_json(indent=2) + "\n")
    write_text(order.output_dir / TOKENS, _tokens(measured).model_dump_json() + "\n")
    if order.output is not None:
        family = settings_of(order.output, adapter.output_family)
        write_outputs(order, family, session.loaded, measured, session.events)
    return measured


def _record(
    session: Session, measured: Measured, memory: Memory, *, load_s: float, warmups: int, notes: tuple[str, ...]
) -> Workload:
    order, loaded = session.order, session.loaded
    config = order.config
    work = [(item.batch.input_ids.tolist(), item.generation.tokens) for item in measured.work]
    return Workload(
        stage=order.stage,
        launch=order.launch,
        timings_only=order.timings_only,
        work_fingerprint=fingerprint_of(session, work),
        model=_model_facts(order, loaded),
        device=_device_facts(loaded.device),
        execution=config.infer.execution,
        cache=config.infer.cache,
        load_s=load_s,
        warmup_runs=warmups,
        batches=tuple(measured.batches),
        errors=tuple(measured.errors),
        memory=memory,
        ranges=ranges_sent(),
        compilation=session.compilation,
        rank=rank_facts(loaded.model, session.ranks),
        notes=notes,
    )


def _tokens(measured: Measured) -> Tokens:
    rows = ((index, work.generation.tokens[row]) for work in measured.work for row, index in enumerate(work.samples))
    return Tokens(samples=tuple(SampleTokens(sample=index, tokens=tuple(ids)) for index, ids in rows))


def fingerprint_of(session: Session, work: list[tuple[list[list[int]], list[list[int]]]]) -> str | None:
    """Identity of what was run, (input ids, output ids) of each batch; None where nothing was."""
    model = _model_facts(session.order, session.loaded)
    return work_fingerprint(model, session.infer.execution, work) if work else None


def _model_facts(order: WorkOrder, loaded: LoadedModel) -> ModelFacts:
    model, built = loaded.model, loaded.built
    parameters = list(model.parameters())
    return ModelFacts(
        adapter=order.config.model.name,
        model_type=model.config.model_type,
        parameters=sum(parameter.numel() for parameter in parameters),
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        dtype=str(model.dtype).removeprefix("torch."),
        weights="random" if built.is_random else "pretrained",
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


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_model() or platform.processor() or platform.machine()


def _device_facts(device: torch.device) -> DeviceFacts:
    return DeviceFacts(
        device=str(device),
        name=_device_name(device),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        transformers_version=transformers.__version__,
        cuda_version=torch.version.cuda,
    )
