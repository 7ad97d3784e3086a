"""What makes figures less than they seem."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, percent
from llm_perf_opt.artifacts.layout import FACTS
from llm_perf_opt.hardware.catalogue import find_gpu
from llm_perf_opt.records.advice import AdviceFigure, Saving
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.tools import NcuCapture, NsysCapture
from llm_perf_opt.records.workload import Workload

HELD_BACK = "share of samples in which the GPU was held back"
FIRST = "time of the first repeat for each of the later ones"
EMPTY = "share of captures that hold no kernels"
LEAST_REPEATS = 3
STEADIER = "it makes figures steadier, not the model faster"


def throttled(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(HardwareState):
        state = piece.record
        if not state.throttled or not state.throttle_reasons:
            continue
        worst = max(state.throttle_reasons, key=lambda name: state.clock_events.get(name, 0.0))
        share = state.clock_events.get(worst, 0.0)
        source = f"{piece.file}: clock_events.{worst}"
        yield Case(
            sentence=f"The GPU was throttled while repeats were timed: {worst} in {percent(share)} of the samples.",
            figures=(AdviceFigure(name=HELD_BACK, value=share, unit="share", source=source),),
            change="Cool it, raise its power limit, or lock its clocks lower than it can hold, before quoting times.",
            saving=_of_clock(state),
        )


def _of_clock(state: HardwareState) -> Saving | str:
    """Were it to run at the clock that its peak assumes."""
    gpu = find_gpu(state.gpu_name) if state.gpu_name is not None else None
    assumed = None if gpu is None else gpu.low_precision_clock_mhz
    if assumed is None or state.sm_clock_mhz is None:
        return "the clock that this GPU can hold, or the one it ran at, is not known"
    if state.sm_clock_mhz.mean >= assumed:
        return f"its clock was not below the {assumed} MHz that its peak assumes"
    share = 1 - state.sm_clock_mhz.mean / assumed
    return amdahl(share, END_TO_END, f"it ran at {assumed} MHz and all time went with its clock")


def unsettled(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Workload):
        times = [[repeat.e2e_ms for repeat in batch.repeats] for batch in piece.record.batches]
        ratios = [found[0] / statistics.median(found[1:]) for found in times if len(found) >= LEAST_REPEATS]
        if not ratios:
            continue
        ratio, warmups = statistics.median(ratios), piece.record.warmup_runs
        source = f"{piece.file}: batches[].repeats[].e2e_ms"
        yield Case(
            sentence=f"Warm-up had not settled: the first timed repeat of a batch takes {ratio:.2f} times the median "
            f"of the later ones, after {warmups} warm-up runs.",
            figures=(AdviceFigure(name=FIRST, value=ratio, unit="times", source=source),),
            change=f"Raise measure.warmup (it was {warmups}) until the first repeat is like the others, and quote "
            "medians.",
            saving=STEADIER,
        )


def empty_captures(evidence: Evidence) -> Iterator[Case]:
    for capture in evidence.each(NsysCapture):
        yield from _nsys(capture)
    for profiled in evidence.each(NcuCapture):
        yield from _ncu(profiled)
    if evidence.config is None:
        for line in evidence.each(DeviceTimeline):
            if line.stage == "torch_profiler":
                kernels = sum(device.kernels + device.graphs for device in line.record.devices)
                yield _empty(
                    f"The trace {line.record.source}", not kernels, f"{line.file}: devices[].kernels", RECORD_CUDA
                )


RECORD_CUDA = "Record again on a GPU, with activities cuda (torch.profiler) or trace cuda (nsys)."


def _nsys(piece: Piece[NsysCapture]) -> Iterator[Case]:
    capture = piece.record
    empty = [report for report in capture.reports if not report.facts.kernels + report.facts.graph_launches]
    share = len(empty) / len(capture.reports) if capture.reports else 1.0
    names = ", ".join(report.name for report in empty[:3]) or "no report"
    change = RECORD_CUDA
    if capture.failure is not None:
        change = f"{capture.failure.remedy.rstrip('.')}."
    elif capture.device == "cpu":
        change = "Run the model on a GPU: on a CPU nsys has no kernels to record."
    source = f"{piece.file}: reports[].facts.kernels, graph_launches"
    yield _empty(f"The nsys capture ({names})", share, source, change)


def _ncu(piece: Piece[NcuCapture]) -> Iterator[Case]:
    facts, failure = piece.record.facts, piece.record.failure
    nothing = facts is None or not facts.results
    change = f"Ask for launches that happen: see the filters in {FACTS}."
    if failure is not None:
        change = f"{failure.remedy.rstrip('.')}."
    yield _empty("The ncu profile", nothing, f"{piece.file}: facts.results", change)


def _empty(what: str, share: float, source: str, change: str) -> Case:
    return Case(
        sentence=f"{what} proves nothing: it holds no kernels.",
        figures=(AdviceFigure(name=EMPTY, value=float(share), unit="share", source=source),),
        change=change,
        saving="what was not recorded cannot be judged",
    )


RULES = (
    Rule(
        name="throttled",
        about="Power, heat or another GPU held the clocks down in more than a tenth of the samples taken while "
        "repeats were timed.",
        figure=HELD_BACK,
        above=0.1,
        tried_on="made records only",
        cases=throttled,
    ),
    Rule(
        name="warm-up-not-settled",
        about="The first timed repeat of a batch takes over 1.2 times what the later ones take, in the median over "
        "batches of at least three repeats.",
        figure=FIRST,
        above=1.2,
        tried_on="made records only",
        cases=unsettled,
    ),
    Rule(
        name="empty-capture",
        about="More than half of the reports of a capture hold no kernels: the trigger opened too late, CUDA was not "
        "traced, or the model ran on a CPU.",
        figure=EMPTY,
        above=0.5,
        tried_on="recorded imports: an nsys export without kernels (RTX 4060), a torch.profiler trace of counters "
        "alone",
        cases=empty_captures,
    ),
)
