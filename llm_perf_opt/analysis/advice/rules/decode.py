"""Decoding."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, part_of_end_to_end, percent
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.workload import Workload

LAUNCHES = "Take launches out of the step: infer.execution: compile, or cuda_graph on a GPU, with infer.cache: static"
KERNELS = (
    "Look for the kernels that take the time (llmperf kernels top RUN), and how far each is from its own roof (llmperf "
    "kernels profile)"
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


RULES = (
    Rule(
        name="far-from-bandwidth",
        about="Over half of decode is not explained by the least bytes it must move: MBU is below a half.",
        figure=UNEXPLAINED,
        above=0.5,
        tried_on="made records only",
        cases=far_from_bandwidth,
    ),
)
