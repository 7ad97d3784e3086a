"""Time that the work itself does not explain."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.analysis.advice.rule import (
    DEVICE_TIME,
    END_TO_END,
    Case,
    Rule,
    amdahl,
    part_of_end_to_end,
    percent,
)
from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.analysis.vision import vision_times
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Instrumented, Workload

NO_PRODUCTS = frozenset({
    "cache", "copy", "elementwise", "embedding", "fill", "indexing", "norm", "position", "quantisation", "reduction",
    "softmax", "sort",
})  # fmt: skip
"""Categories of kernels that multiply no matrices."""
PRODUCTS = re.compile(r"(^|_)(\w*mm|matmul|linear|convolution|conv\dd|einsum|dot|mv)(_|$)|attention|mkldnn|lstm|gru")
"""Names of operators, without `aten::`, that multiply matrices."""
UNFUSED = "share of the time in work that multiplies no matrices"
BEYOND = "share of its time that its FLOPs do not explain"
LEAST_SHARE = 0.2
"""Of prefill: a part that takes less is not worth speaking of."""
TOP = 3


def unfused(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(DeviceTimeline):
        yield from _on_devices(piece)
    for tables in evidence.each(ProfileTables):
        yield from _on_the_host(evidence, tables)


def _on_devices(piece: Piece[DeviceTimeline]) -> Iterator[Case]:
    """Of all kernels of a recording."""
    line = piece.record
    sums: dict[str, int] = defaultdict(int)
    for row in line.categories:
        sums[row.category] += row.total_ns
    total, wall = sum(sums.values()), sum(device.wall_ns for device in line.devices)
    if not total or not wall:
        return
    share, worst = _unfused(sums)
    computing = sum(device.compute_ns for device in line.devices) / wall
    yield Case(
        sentence=f"{percent(share)} of the time of kernels is in ones that multiply no matrices ({worst}): they read "
        "and write more than they compute.",
        figures=(
            AdviceFigure(name=UNFUSED, value=share, unit="share", source=f"{piece.file}: categories[].total_ns"),
            AdviceFigure(
                name="share of the time of the devices in which kernels compute",
                value=computing,
                unit="share",
                source=f"{piece.file}: devices[].compute_ns, wall_ns",
            ),
        ),
        change="Fuse them into their neighbours: attention without a softmax of its own (use_flash_attn, SDPA), "
        "infer.execution: compile for decode steps; and types of fewer bytes (model.dtype: bfloat16) where it is "
        "float32.",
        saving=amdahl(share * computing, DEVICE_TIME, "these kernels took no time"),
    )


def _on_the_host(evidence: Evidence, piece: Piece[ProfileTables]) -> Iterator[Case]:
    """Of operators in prefill on a CPU; a step of decode is mostly overhead there."""
    timed = evidence.of_stage(piece.stage, Workload)
    if timed is None or not timed.record.batches or timed.record.device.device != "cpu":
        return
    sums: dict[str, int] = defaultdict(int)
    for row in piece.record.operators:
        if row.phase == "prefill" and row.name.startswith("aten::"):
            sums[row.name.removeprefix("aten::")] += row.self_cpu_ns
    if not sum(sums.values()):
        return
    share, worst = _unfused(sums)
    prefill = part_of_end_to_end(timed, "prefill")
    yield Case(
        sentence=f"{percent(share)} of the time of operators in prefill is in ones that multiply no matrices "
        f"({worst}): they read and write more than they compute.",
        figures=(
            AdviceFigure(
                name=UNFUSED, value=share, unit="share", source=f"{piece.file}: operators.self_cpu_ns, prefill"
            ),
            prefill,
        ),
        change="Move fewer bytes: model.dtype: bfloat16 where it is float32 and the CPU multiplies it as fast; smaller "
        "images or prompts; prefill runs operator by operator in every infer.execution.",
        saving=amdahl(share * prefill.value, END_TO_END, "these operators took no time"),
    )


def _unfused(sums: Mapping[str, int]) -> tuple[float, str]:
    """Their share, and the largest of them in words."""
    total = sum(sums.values())
    kept = {name: ns for name, ns in sums.items() if not _multiplies(name)}
    largest = sorted(kept.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return sum(kept.values()) / total, ", ".join(f"{name} {percent(ns / total)}" for name, ns in largest)


def _multiplies(name: str) -> bool:
    """Whether a category of kernels, or an operator, does; what is not known counts as doing so."""
    return name not in NO_PRODUCTS if name in CATEGORIES else PRODUCTS.search(name) is not None


CATEGORIES = NO_PRODUCTS | {
    "GEMM", "attention", "convolution", "communication", "mixture of experts", "Triton", "sampling", "optimizer",
    "other",
}  # fmt: skip


def beyond_its_flops(evidence: Evidence) -> Iterator[Case]:
    """Vision against the language model in prefill: equal FLOPs should take equal time."""
    for piece in evidence.each(Instrumented):
        timed = evidence.of_stage(piece.stage, Workload)
        vision_ms, prefill_ms = sum(part.total_ms for part in vision_times(piece.record)), piece.record.prefill_ms
        flops = _flops(timed) if timed is not None else None
        if timed is None or not prefill_ms or not 0 < vision_ms < prefill_ms or flops is None:
            continue
        prefill = part_of_end_to_end(timed, "prefill")
        times = {"the vision encoder": vision_ms, "the language model": prefill_ms - vision_ms}
        for name, part_ms in times.items():
            share, of_flops = part_ms / prefill_ms, flops[name]
            beyond = 1 - of_flops / share
            if share < LEAST_SHARE:
                continue
            source = f"{piece.file}: modules[].total_ms, prefill_ms"
            yield Case(
                sentence=f"In prefill {name} costs more than its FLOPs explain: it does {percent(of_flops)} of them in "
                f"{percent(share)} of the time.",
                figures=(
                    AdviceFigure(name=BEYOND, value=beyond, unit="share", source=f"{source}; FLOPs of static analysis"),
                    AdviceFigure(name=f"share of prefill in {name}", value=share, unit="share", source=source),
                    prefill,
                ),
                change="Look at its operators and kernels (llmperf torch, llmperf kernels top RUN): small or unfused "
                "ones, copies and casts take time without FLOPs.",
                saving=amdahl(beyond * share * prefill.value, END_TO_END, "its FLOPs took what the others take")
                if beyond > 0
                else "it takes less than its FLOPs explain",
            )


def _flops(timed: Piece[Workload]) -> dict[str, float] | None:
    """Shares of the FLOPs of prefill, of the first batch; None where they are not known."""
    record = timed.record
    if not record.batches or not record.batches[0].views:
        return None
    batch = record.batches[0]
    try:
        cost = generation_cost(
            record.model.config,
            prompt_tokens=batch.prompt_tokens,
            padded_tokens=batch.padded_tokens,
            new_tokens=1,
            views=[view for row in batch.views for view in row],
            dtype=record.model.dtype,
        )
    except ConfigError:
        return None
    if cost.vision is None or not cost.prefill.flops:
        return None
    share = cost.vision.flops / cost.prefill.flops
    return {"the vision encoder": share, "the language model": 1 - share}


RULES = (
    Rule(
        name="unfused-work",
        about="Over half of the time of kernels (on a CPU: of operators in prefill) is in copies, casts, "
        "element-wise work, norms, softmax and the like: reading and writing without products of matrices.",
        figure=UNFUSED,
        above=0.5,
        tried_on="a run of the demo on a CPU; a recorded import: torch.profiler of a 0.5B model on an H100",
        cases=unfused,
    ),
    Rule(
        name="part-beyond-its-flops",
        about="Of the vision encoder and the language model, one takes more than twice the time in prefill that its "
        "part of the FLOPs would, and at least a fifth of prefill. FLOPs are those of the batch that ran.",
        figure=BEYOND,
        above=0.5,
        tried_on="made records only",
        cases=beyond_its_flops,
    ),
)
