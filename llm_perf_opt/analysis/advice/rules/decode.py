"""Decoding."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, part_of_end_to_end, percent
from llm_perf_opt.analysis.metrics import SLOW, decode_steps
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.device_timeline import DeviceTimeline, StepGroup
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.workload import Workload

LAUNCHES = "Take launches out of the step: infer.execution: compile, or cuda_graph on a GPU, with infer.cache: static"
KERNELS = (
    "Look for the kernels that take the time (llmperf kernels top RUN), and how far each is from its own roof (llmperf "
    "kernels profile)"
)
SLOW_SHARE = "share of the steps' time in slow ones"
LEAST_STEPS = 5
MOST_SLOW = 0.25
"""Of the steps: more are not a few."""
LOOK_AT_STEPS = (
    "See what they do that others do not: llmperf torch or nsys with measure.ranges: [phase, module, step], and "
    "whether other processes ran (a quiet machine), something was compiled, or memory was made anew."
)
UNEXPLAINED = "share of decode beyond the bandwidth bound"


def far_from_bandwidth(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Metrics):
        timed, mbu = evidence.of_stage(piece.stage, Workload), piece.record.metrics.get("decode.mbu")
        if timed is None or mbu is None or mbu.median is None:
            continue
        decode = part_of_end_to_end(timed, "decode")
        beyond = 1 - mbu.median
        source = f"{piece.file}: 1 − metrics.decode.mbu.median"
        eager = timed.record.execution == "eager"
        yield Case(
            sentence=f"Decode is far from the bandwidth bound: it reaches {percent(mbu.median)} of the memory "
            f"bandwidth ({mbu.note}), so {percent(beyond)} of it is something else than reading weights and cache.",
            figures=(AdviceFigure(name=UNEXPLAINED, value=beyond, unit="share", source=source), decode),
            change=(LAUNCHES if eager else KERNELS)
            + "; a larger infer.batch_size makes more tokens of the same reads.",
            saving=amdahl(beyond * decode.value, END_TO_END, "decode took what its least bytes take"),
        )


def few_slow(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Workload):
        steps = decode_steps(piece.record.batches)
        if steps is None or steps.slow > MOST_SLOW * steps.n:
            continue
        decode = part_of_end_to_end(piece, "decode")
        beyond = max(steps.slow_share - steps.slow * steps.p50_ms / steps.total_ms, 0.0) if steps.total_ms else 0.0
        source = f"{piece.file}: batches[].repeats[].step_ms"
        yield Case(
            sentence=f"A few steps are slow: {steps.slow:,} of {steps.n:,} decode steps took over {SLOW:g} times the "
            f"median and {percent(steps.slow_share)} of decode.",
            figures=(AdviceFigure(name=SLOW_SHARE, value=steps.slow_share, unit="share", source=source), decode),
            change=LOOK_AT_STEPS,
            saving=amdahl(beyond * decode.value, END_TO_END, "each of them took what the median step takes"),
        )
    if evidence.timed() is None:
        for line in evidence.each(DeviceTimeline):
            for group in line.record.steps:
                yield from _slow_in_recording(line, group)


def _slow_in_recording(piece: Piece[DeviceTimeline], group: StepGroup) -> Iterator[Case]:
    total_ns = group.mean_ns * group.steps
    if group.steps < LEAST_STEPS or not total_ns or group.outliers > MOST_SLOW * group.steps:
        return
    share = group.outliers_ns / total_ns
    beyond = max(group.outliers_ns - group.outliers * group.median_ns, 0) / total_ns
    yield Case(
        sentence=f"A few steps are slow: {group.outliers:,} of {group.steps:,} steps {group.name} took over twice the "
        f"median and {percent(share)} of their time.",
        figures=(
            AdviceFigure(
                name=SLOW_SHARE, value=share, unit="share", source=f"{piece.file}: steps[{group.name}].outliers_ns"
            ),
        ),
        change=LOOK_AT_STEPS,
        saving=amdahl(beyond, f"the time of steps {group.name}", "each of them took what the median step takes"),
    )


RULES = (
    Rule(
        name="slow-steps",
        about="Steps over twice the median take more than a tenth of decode (of the steps of one kind, in an "
        "import). A mean hides them.",
        figure=SLOW_SHARE,
        above=0.1,
        tried_on="a run of the demo on a busy machine",
        cases=few_slow,
    ),
    Rule(
        name="far-from-bandwidth",
        about="Over half of decode is not explained by the least bytes it must move: MBU is below a half.",
        figure=UNEXPLAINED,
        above=0.5,
        tried_on="a run of a deep and narrow Llama on a CPU, against a measured peak",
        cases=far_from_bandwidth,
    ),
)
