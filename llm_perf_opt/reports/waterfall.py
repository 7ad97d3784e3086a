"""What a capture is of, from the other records of its run: the work of its steps, and how long they take unprofiled."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.cost import cost_of, peaks_of
from llm_perf_opt.analysis.metrics import BatchCost, CostOf, Peaks, tpot_ms
from llm_perf_opt.analysis.waterfall import PHASES, StepWork, Window, below_bound, nothing, waterfall, window_of
from llm_perf_opt.artifacts.layout import WORKLOAD, workload_dir
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.waterfall import Waterfall
from llm_perf_opt.records.workload import BatchResult, Profile, Repeat, Workload
from llm_perf_opt.reports.facts import Found, RunFacts
from llm_perf_opt.stages.static_analysis import StaticAnalysis

IMPORTED = "imported files come without the model and the inputs of what was captured"
NO_CAPTURE = "nothing was captured: `llmperf torch` and `llmperf nsys` record what the devices did"
FOREIGN = "what ran was not llmperf's own workload, or was ended before it said what it did"
NOT_TIMED = "no stage of this run timed the same work without a profiler"
ALONE = "the sample was profiled alone and timed in a batch with others"

Waterfalls = dict[str, Waterfall]
"""By phase."""
Runs = Sequence[BatchResult]


@dataclass(frozen=True)
class Captured:
    """The generations that a capture may hold."""

    workload: Workload
    runs: tuple[BatchResult, ...]
    """Each with the one repeat that it is; see `steps_of`."""
    timed: Workload | str
    """Timed repeats of the same work; or why there are none."""


def waterfalls(facts: RunFacts) -> list[tuple[Found, DeviceTimeline, Waterfalls]]:
    """Of every capture of a run."""
    return [(place, record, of_capture(facts, place, record)) for place, record in facts.all(DeviceTimeline)]


def whole_answer(record: DeviceTimeline, found: Waterfalls) -> str:
    """The answer of a capture, and where kernels ran below their bound."""
    below = [f"In {phase}, {why}." for phase, one in found.items() if (why := below_bound(one)) is not None]
    return " ".join([record.answer, *below])


def without_capture() -> Waterfalls:
    return {phase: nothing(NO_CAPTURE) for phase in PHASES}


def of_capture(facts: RunFacts, place: Found, record: DeviceTimeline) -> Waterfalls:
    captured = _captured(facts, place.stage)
    return {phase: _of_phase(facts, captured, record, phase) for phase in PHASES}


def _of_phase(facts: RunFacts, captured: Captured | str, record: DeviceTimeline, phase: str) -> Waterfall:
    window = window_of(record, phase)
    if window is None:
        return waterfall(None, phase, StepWork("", "", ""))
    if isinstance(captured, str):
        steps = _named_steps(record, phase)
        return waterfall(window, phase, StepWork(steps or captured, captured, captured))
    runs = _chosen(captured.runs, window, phase)
    if isinstance(runs, str):
        return waterfall(window, phase, StepWork(runs, runs, runs))
    steps = (sum(map(steps_of, runs)) if phase == "decode" else len(runs)) * max(window.devices, 1)
    bound, source = _bound_s(facts, captured.workload, runs, phase)
    return waterfall(window, phase, StepWork(steps, bound, _unprofiled_s(captured.timed, runs, phase), source))


def _captured(facts: RunFacts, stage: str) -> Captured | str:
    """What the capture of a stage is of; or why that is not known."""
    if facts.setup is None:
        return IMPORTED
    profile, own = facts.of_stage(stage, Profile), facts.measured.get(stage)
    if profile is not None and own is not None:
        return _profiled(profile, own.workload)
    file = workload_dir(facts.path, stage) / WORKLOAD
    try:
        workload = Workload.read(file)
    except (OSError, ValueError):
        return FOREIGN
    runs = tuple(_only(batch, repeat) for batch in workload.batches for repeat in batch.repeats)
    return Captured(workload, runs, _timed(facts, workload)) if runs else FOREIGN


def _profiled(profile: Profile, workload: Workload) -> Captured | str:
    """One sample alone, with as many decode steps as were recorded."""
    for batch in workload.batches:
        if profile.sample in batch.samples and profile.decode_steps is not None:
            row = batch.samples.index(profile.sample)
            first = batch.repeats[0]
            recorded = first.model_copy(update={"step_ms": (0.0,) * profile.decode_steps})
            alone = _only(batch, recorded).model_copy(
                update={
                    "samples": (profile.sample,),
                    "prompt_tokens": batch.prompt_tokens[row : row + 1],
                    "padded_tokens": batch.prompt_tokens[row],
                    "image_tokens": batch.image_tokens[row : row + 1],
                    "image_sizes": batch.image_sizes[row : row + 1],
                    "views": batch.views[row : row + 1],
                }
            )
            timed = workload if len(batch.samples) == 1 else ALONE
            return Captured(workload, (alone,), timed)
    return "which sample was profiled, or how many of its steps, is not recorded"


def _only(batch: BatchResult, repeat: Repeat) -> BatchResult:
    return batch.model_copy(update={"repeats": (repeat,)})


def steps_of(run: BatchResult) -> int:
    """Decode steps of a generation."""
    return len(run.repeats[0].step_ms)


def _timed(facts: RunFacts, captured: Workload) -> Workload | str:
    """Timed repeats of the same work; those of a child that did nothing else first."""
    stages = [item.workload for item in facts.measured.values()]
    same = [
        item
        for item in stages
        if item.work_fingerprint == captured.work_fingerprint is not None and item is not captured
    ]
    if not same:
        return NOT_TIMED if not stages else f"{NOT_TIMED}: what {stages[0].stage} timed is different work"
    return min(same, key=lambda item: not item.timings_only)


def _named_steps(record: DeviceTimeline, phase: str) -> int | None:
    """Steps whose ranges have a name of their own: those of serving engines, and llmperf's decode steps."""
    named = sum(group.steps for group in record.steps if group.phase == phase)
    if named and named == sum(row.occurrences for row in record.phases if row.name == phase):
        return named
    own = sum(group.steps for group in record.steps if group.name == "decode step")
    return own if own and phase == "decode" else None


def _chosen(runs: Runs, window: Window, phase: str) -> Runs | str:
    """Of the generations those that the capture holds; or why they cannot be told."""
    having = [run for run in runs if steps_of(run)] if phase == "decode" else list(runs)
    held = len(having) if window.occurrences is None else window.occurrences
    if held == len(having):
        return having
    if having and len({_work(run) for run in having}) == 1:
        return [having[0]] * held
    return f"the capture holds {held:,} of {len(having):,} generations, which are not alike: which of them is not known"


def _work(run: BatchResult) -> tuple[object, ...]:
    return run.prompt_tokens, run.padded_tokens, run.views, steps_of(run)


def _bound_s(facts: RunFacts, workload: Workload, runs: Runs, phase: str) -> tuple[float, str] | tuple[str, None]:
    """The least time of these generations on the GPU that they ran on, and what it was computed from."""
    assert facts.setup is not None
    config = facts.setup.config
    peaks = peaks_of(workload.device, workload.model, config.hardware, facts.measured_peaks(workload.device))
    if peaks.flops_per_s is None or peaks.bytes_per_s is None:
        return peaks.reason or "the peak of this hardware is not known", None
    counting = config.pipeline.first(StaticAnalysis)
    # Each step at its own context, whatever the headline figures count it at.
    infer = config.infer.model_copy(update={"context_len_mode": "auto"})
    total = _least_s(cost_of(workload, infer, counting.attention_flops, counting.logits), peaks, runs, phase)
    if isinstance(total, str):
        return total, None
    conventions = f"attention {counting.attention_flops}, logits {counting.logits}"
    return total, f"FLOPs ({conventions}) and least bytes of static analysis; {peaks.source}"


def _least_s(work_of: CostOf, peaks: Peaks, runs: Runs, phase: str) -> float | str:
    assert peaks.flops_per_s is not None and peaks.bytes_per_s is not None
    total = 0.0
    known: dict[tuple[object, ...], BatchCost | str] = {}
    for run in runs:
        key = _work(run)
        if key not in known:
            known[key] = work_of(run)
        work = known[key]
        if isinstance(work, str):
            return work
        decode = phase == "decode"
        flops = work.decode_flops if decode else work.prefill_flops
        least_bytes = work.decode_least_bytes if decode else work.prefill_least_bytes
        total += max(flops / peaks.flops_per_s, least_bytes / peaks.bytes_per_s)
    return total


def _unprofiled_s(timed: Workload | str, runs: Runs, phase: str) -> float | str:
    """Seconds of one step, the mean over these generations of the median over their timed repeats."""
    if isinstance(timed, str):
        return timed
    seconds, steps = 0.0, 0
    for run in runs:
        repeats = [
            repeat
            for batch in timed.batches
            if batch.samples == run.samples
            for repeat in batch.repeats
            if repeat.step_ms or phase == "prefill"
        ]
        if not repeats:
            return NOT_TIMED
        weight = steps_of(run) if phase == "decode" else 1
        times = [tpot_ms(repeat) if phase == "decode" else repeat.prefill_ms for repeat in repeats]
        seconds += statistics.median(times) / 1e3 * weight
        steps += weight
    return seconds / steps
