"""What the measured batches computed, from the model's configuration and the real token counts."""

from __future__ import annotations

from dataclasses import replace

from llm_perf_opt.analysis.metrics import BatchCost, CostOf, Peaks
from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.config.schema import Hardware, Infer
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.catalogue import find_gpu, gpu_named
from llm_perf_opt.hardware.gpu import Dtype, Gpu
from llm_perf_opt.records.peaks import MeasuredPeaks
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


def catalogue_gpu(device: str, name: str, hardware: Hardware) -> Gpu | None:
    """The GPU of the catalogue to hold a device against: the one the configuration names, else that of its exact name.

    Raises:
        ConfigError: hardware.gpu names a GPU the catalogue does not know.
    """
    if hardware.gpu != "auto":
        return gpu_named(hardware.gpu)
    return find_gpu(name) if device != "cpu" else None


def wants_measured_peaks(device: str, name: str, hardware: Hardware) -> bool:
    """Whether timings of the device are held against peaks that are measured on it."""
    if hardware.peak_tflops is not None and hardware.memory_bandwidth_gbs is not None:
        return False
    if hardware.peaks == "auto":
        return catalogue_gpu(device, name, hardware) is None
    return hardware.peaks == "measured"


def peaks_of(
    device: DeviceFacts, model: ModelFacts, hardware: Hardware, measured: MeasuredPeaks | None = None
) -> Peaks:
    """Peaks the measured device is held against: the configuration's own, else the catalogue's for its exact name, else
    those measured on it. Those of the catalogue and measured ones are never mixed.

    Raises:
        ConfigError: hardware.gpu names a GPU the catalogue does not know.
    """
    if wants_measured_peaks(device.device, device.name, hardware):
        found = _measured(device, model, hardware, measured)
    else:
        found = _of_catalogue(device, model, hardware)
    named = [name for name in ("peak_tflops", "memory_bandwidth_gbs") if getattr(hardware, name) is not None]
    if not named:
        return found
    tflops, gbs = hardware.peak_tflops, hardware.memory_bandwidth_gbs
    own = ", ".join(f"hardware.{name}" for name in named)
    return replace(
        found,
        flops_per_s=tflops * 1e12 if tflops is not None else found.flops_per_s,
        bytes_per_s=gbs * 1e9 if gbs is not None else found.bytes_per_s,
        source=", ".join(filter(None, (own, found.source))),
        mbu_reason=found.mbu_reason if gbs is None else None,
        if_passed=None,
    )


def _of_catalogue(device: DeviceFacts, model: ModelFacts, hardware: Hardware) -> Peaks:
    gpu = catalogue_gpu(device.device, device.name, hardware)
    reason = (
        f"no peak is known for {device.name} ({device.device}): set hardware.gpu, "
        "or hardware.peak_tflops and hardware.memory_bandwidth_gbs"
    )
    if gpu is None:
        return Peaks(None, None, "", reason)
    peak = gpu.peak_flops(PEAK_DTYPES[model.dtype]) if model.dtype in PEAK_DTYPES else None
    source = f"{gpu.title}, dense {model.dtype}"
    return Peaks(peak.flops_per_s if peak else None, gpu.memory_bandwidth_bytes_per_s, source, reason)


def _measured(device: DeviceFacts, model: ModelFacts, hardware: Hardware, found: MeasuredPeaks | None) -> Peaks:
    """Reading memory is a bound for decode only where the weights come from memory."""
    if found is None:
        reason = (
            f"no peak of {device.name} ({device.device}) was measured in this run: run it again, "
            "or set hardware.peak_tflops and hardware.memory_bandwidth_gbs"
        )
        return Peaks(None, None, "", reason)
    rate, read, cache = found.flops_per_s.get(model.dtype), found.read_bytes_per_s, found.last_level_cache_bytes
    no_rate = found.missing.get(model.dtype, f"no peak of {device.name} was measured for {model.dtype}")
    mbu_reason = None
    if read is None:
        mbu_reason = f"the memory bandwidth was not measured: {found.missing.get('read_bytes_per_s', 'unknown why')}"
    elif cache is None:
        why = found.missing.get("last_level_cache_bytes", "its size is not known")
        mbu_reason = f"whether the weights fit the last-level cache is not known: {why}"
    elif model.weight_bytes <= cache:
        mbu_reason = (
            f"the weights ({in_mib(model.weight_bytes)}) fit the last-level cache ({in_mib(cache)}), so that they need "
            "not come from memory"
        )
    source = found.label(model.dtype)
    again = "" if found.cache is None else f"; remove {found.cache} to measure it again"
    return Peaks(
        None if rate is None else rate.per_s,
        None if read is None else read.per_s,
        source,
        no_rate,
        mbu_reason,
        f"this ran faster than the benchmark behind {source}, so that is no roof for it{again}",
    )


def in_mib(amount: int) -> str:
    return f"{amount / (1 << 20):.1f} MiB"
