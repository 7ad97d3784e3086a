"""What the measured batches computed, from the model's configuration and the real token counts."""

from __future__ import annotations

from llm_perf_opt.analysis.metrics import BatchCost, CostOf, Peaks
from llm_perf_opt.analysis.static import generation_cost
from llm_perf_opt.config.schema import Hardware, Infer
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.catalogue import find_gpu, gpu_named
from llm_perf_opt.hardware.gpu import Dtype
from llm_perf_opt.records.workload import BatchResult, DeviceFacts, ModelFacts, Workload

# Operand types whose products run on the matrix units. float32 counts against the vector units: torch leaves TF32 off
# (https://docs.pytorch.org/docs/stable/notes/cuda.html, "TensorFloat-32 (TF32) on Ampere").
PEAK_DTYPES: dict[str, Dtype] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def cost_of(record: Workload, infer: Infer, attention_flops: str, logits: str) -> CostOf:
    """The work of each batch of `record`, or why it is not known."""

    def of(batch: BatchResult) -> BatchCost | str:
        steps = len(batch.repeats[0].step_ms)
        try:
            found = generation_cost(
                record.model.config,
                prompt_tokens=batch.prompt_tokens,
                padded_tokens=batch.padded_tokens,
                new_tokens=steps + 1,
                views=[view for row in batch.views for view in row],
                dtype=record.model.dtype,
                attention_flops=attention_flops,
                logits=logits,
                where=f"configuration of {record.model.model_type}",
            )
        except ConfigError as error:
            return f"static analysis does not cover this work: {error.message}"
        decode = found.decode.flops
        if infer.context_len_mode != "auto" and steps:
            decode = steps * _step_flops(record.model, batch, infer, steps, attention_flops)
        return BatchCost(found.prefill.flops, decode, found.decode.bytes, found.prefill.bytes)

    return of


def once_a_work(cost: CostOf) -> CostOf:
    """The same, asked once for all batches of equal sizes: those of further launches are."""
    known: dict[tuple[object, ...], BatchCost | str] = {}

    def of(batch: BatchResult) -> BatchCost | str:
        key = (batch.prompt_tokens, batch.padded_tokens, batch.views, len(batch.repeats[0].step_ms))
        if key not in known:
            known[key] = cost(batch)
        return known[key]

    return of


def _step_flops(model: ModelFacts, batch: BatchResult, infer: Infer, steps: int, attention_flops: str) -> int:
    """FLOPs of one decode step at the one context that `context_len_mode` fixed or max counts every step at."""
    longest = batch.padded_tokens + steps
    context = infer.context_len_fixed if infer.context_len_mode == "fixed" else longest
    assert context is not None
    rows = (max(context - 1, 1),) * len(batch.prompt_tokens)
    return generation_cost(
        model.config, prompt_tokens=rows, new_tokens=2, dtype=model.dtype, attention_flops=attention_flops
    ).decode.flops


def peaks_of(device: DeviceFacts, model: ModelFacts, hardware: Hardware) -> Peaks:
    """Peaks the measured device is held against: the configuration's own, else the catalogue's for its exact name.

    Raises:
        ConfigError: hardware.gpu names a GPU the catalogue does not know.
    """
    gpu = gpu_named(hardware.gpu) if hardware.gpu != "auto" else None
    if gpu is None and device.device != "cpu":
        gpu = find_gpu(device.name)
    flops_per_s = hardware.peak_tflops * 1e12 if hardware.peak_tflops is not None else None
    bytes_per_s = hardware.memory_bandwidth_gbs * 1e9 if hardware.memory_bandwidth_gbs is not None else None
    sources = [name for name in ("peak_tflops", "memory_bandwidth_gbs") if getattr(hardware, name) is not None]
    source = ", ".join(f"hardware.{name}" for name in sources)
    if gpu is not None:
        peak = gpu.peak_flops(PEAK_DTYPES[model.dtype]) if model.dtype in PEAK_DTYPES else None
        flops_per_s = flops_per_s if flops_per_s is not None else (peak.flops_per_s if peak else None)
        bytes_per_s = bytes_per_s if bytes_per_s is not None else gpu.memory_bandwidth_bytes_per_s
        source = ", ".join([*([source] if source else []), f"{gpu.title}, dense {model.dtype}"])
    reason = (
        f"no peak is known for {device.name} ({device.device}): set hardware.gpu, "
        "or hardware.peak_tflops and hardware.memory_bandwidth_gbs"
    )
    return Peaks(flops_per_s, bytes_per_s, source, reason)
