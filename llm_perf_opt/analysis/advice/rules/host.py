"""The host that keeps the device waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.device_timeline import DeviceTimeline, Parts
from llm_perf_opt.records.workload import Workload

FIGURE = "share of idle time in which the device waits for the host to launch"
OF_RUN = (
    "Launch less from the host: infer.execution: cuda_graph with infer.cache: static replays a decode step as one "
    "launch; infer.execution: compile makes fewer and larger kernels."
)
OF_IMPORT = "Launch less from the host: CUDA graphs for the part that repeats, torch.compile, or larger batches."
LOOKING = "share of decode in which the host looks at tokens"
WAITS = ", the wait for the step included, in which nothing is launched"
OVERLAPPED = "that wait and the rest of the step overlapped"
LAUNCH_CALL = "launch_call"
WELL_USED = 0.8
"""A device that is busy for so much of the time is not held up."""


def host_bound(evidence: Evidence) -> Iterator[Case]:
    if evidence.config is not None and evidence.config.infer.execution == "cuda_graph":
        return  # the launches of a step are one already
    for piece in evidence.each(DeviceTimeline):
        line = piece.record
        timed = evidence.timed(piece.stage)
        decode = [phase for phase in line.phases if phase.name == "decode"] if timed is not None else []
        if timed is not None and decode:
            share = part_of_end_to_end(timed, "decode")
            yield from _case(piece, "decode", decode, END_TO_END, share)
        elif timed is None and line.devices:
            yield from _case(piece, "the recording", line.devices, DEVICE_TIME, None)


def _case(
    piece: Piece[DeviceTimeline], window: str, parts: Sequence[Parts], of: str, phase: AdviceFigure | None
) -> Iterator[Case]:
    wall, idle = sum(part.wall_ns for part in parts), sum(part.idle_ns for part in parts)
    late = sum(part.idle_by_cause.get(cause, 0) for part in parts for cause in _causes(part))
    calls = sum(part.idle_by_cause.get(LAUNCH_CALL, 0) for part in parts)
    busy = sum(part.busy_ns for part in parts)
    if not wall or not idle or busy >= WELL_USED * wall:
        return
    fields = "phases[decode]" if phase is not None else "devices[]"
    figures = (
        AdviceFigure(name=FIGURE, value=late / idle, unit="share", source=f"{piece.file}: {fields}.idle_by_cause"),
        AdviceFigure(
            name=f"share of {window} in which the device is busy",
            value=busy / wall,
            unit="share",
            source=f"{piece.file}: {fields}.busy_ns, wall_ns",
        ),
    )
    yield Case(
        sentence=f"Host-bound: in {window} the device is busy {percent(busy / wall)} of the time; in "
        f"{percent((late - calls) / idle)} of its idle time the host is late with the next launch, and in "
        f"{percent(calls / idle)} the launch call itself runs (while something records, which slows the host).",
        figures=figures if phase is None else (*figures, phase),
        change=OF_IMPORT if phase is None else OF_RUN,
        saving=amdahl(
            late / wall * (1.0 if phase is None else phase.value), of, "the device never waited for a launch"
        ),
    )


def _causes(part: Parts) -> list[str]:
    return [cause for cause in part.idle_by_cause if cause.startswith("host_") or cause == LAUNCH_CALL]


def synchronised(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Workload):
        repeats = [repeat for batch in piece.record.batches for repeat in batch.repeats]
        decode_ms = sum(repeat.decode_ms or 0.0 for repeat in repeats)
        if not decode_ms:
            continue
        looking = sum(repeat.host_sync_ms for repeat in repeats) / decode_ms
        decode = part_of_end_to_end(piece, "decode")
        on_gpu = piece.record.device.device != "cpu"
        # On a GPU the host waits there for the step: the wait and the rest can at most overlap.
        could_go = min(looking, 1 - looking) if on_gpu else looking
        source = f"{piece.file}: batches[].repeats[].host_sync_ms, decode_ms"
        yield Case(
            sentence="The host looks at tokens in every step: the check for the end of the text and logits "
            f"processors take {percent(looking)} of decode{WAITS if on_gpu else ''}.",
            figures=(AdviceFigure(name=LOOKING, value=looking, unit="share", source=source), decode),
            change="infer.stop_on_eos: false decodes a fixed length without a look; infer.no_repeat_ngram_size: null "
            "leaves out the processor that goes over all ids, where the model's own settings do not ask for it.",
            saving=amdahl(could_go * decode.value, END_TO_END, OVERLAPPED if on_gpu else "the host did not look"),
        )


RULES = (
    Rule(
        name="host-sync",
        about="The check for the end of the text and logits processors take more than a tenth of decode. On a GPU that "
        "contains the wait for the step, which keeps the host from launching the next one meanwhile.",
        figure=LOOKING,
        above=0.1,
        tried_on="a run of a tiny Llama on a CPU with infer.no_repeat_ngram_size",
        cases=synchronised,
    ),
    Rule(
        name="host-bound",
        about="A device is busy for less than 80 % of decode (of the whole recording, where it was imported), and over "
        "half of its idle time it waits for the host to launch something. A step that is a CUDA graph is left out.",
        figure=FIGURE,
        above=0.5,
        tried_on="recorded imports: torch.profiler of vLLM on a B200, of a training job on an A100",
        cases=host_bound,
    ),
)
