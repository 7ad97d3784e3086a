"""Why compiling did not help as it could."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, end_to_end_ms, percent
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.workload import Compilation, Workload

LATE = "share of the timed repeats spent compiling"
BROKEN = "share of graphs that a graph break cut off"
SKIPPED = "CUDA graphs skipped for each graph compiled"
SHOWN = 3
NOT_TIMED = "what a step costs without them was not measured: compare with an eager run (llmperf compare)"


def compiled_late(evidence: Evidence) -> Iterator[Case]:
    for piece, found in _compiled(evidence):
        whole_ms = end_to_end_ms(piece.record)
        if not whole_ms:
            continue
        late_s = sum(item.seconds for item in found.late)
        share = late_s * 1e3 / whole_ms
        whys = dict.fromkeys(f"{item.function}: {item.reason or 'not compiled before'}" for item in found.late)
        yield Case(
            sentence=f"torch.compile compiled in the timed repeats: {found.late_graphs:,} graphs in {late_s:.3g} s, "
            f"{percent(share)} of their time ({_some(list(whys))}).",
            figures=(_figure(piece, LATE, share, "late[].seconds, batches[].repeats[].e2e_ms"),),
            change="Let everything be compiled before: infer.cache: static has one shape for every step, and a higher "
            "measure.warmup goes through more of the others.",
            saving=amdahl(share, END_TO_END, "nothing were compiled in the timed repeats"),
        )


def broken(evidence: Evidence) -> Iterator[Case]:
    for piece, found in _compiled(evidence):
        breaks = sum(item.count for item in found.breaks)
        if found.graphs:
            yield Case(
                sentence=f"torch.compile cut the step into pieces: {breaks:,} graph breaks in {found.graphs:,} graphs "
                f"({_some([item.reason for item in found.breaks])}).",
                figures=(_figure(piece, BROKEN, breaks / found.graphs, "breaks[].count, graphs"),),
                change="Change the lines of the model that it breaks at, or use infer.execution: cuda_graph with "
                "infer.cache: static, which takes a step as it is.",
                saving=NOT_TIMED,
            )


def skipped(evidence: Evidence) -> Iterator[Case]:
    for piece, found in _compiled(evidence):
        if found.graphs and piece.record.device.device != "cpu":
            reasons = _some(list(found.cuda_graph_skip_reasons)) or "torch gives no reason"
            yield Case(
                sentence=f"torch.compile ran without its CUDA graphs: {found.cuda_graphs_skipped:,} were skipped "
                f"({reasons}), so that every kernel is launched by the host.",
                figures=(
                    _figure(piece, SKIPPED, found.cuda_graphs_skipped / found.graphs, "cuda_graphs_skipped, graphs"),
                ),
                change="Mend what the reason names, or use infer.execution: cuda_graph with infer.cache: static.",
                saving=NOT_TIMED,
            )


def _compiled(evidence: Evidence) -> Iterator[tuple[Piece[Workload], Compilation]]:
    for piece in evidence.each(Workload):
        if piece.record.compilation is not None:
            yield piece, piece.record.compilation


def _figure(piece: Piece[Workload], name: str, value: float, fields: str) -> AdviceFigure:
    return AdviceFigure(name=name, value=value, unit="share", source=f"{piece.file}: compilation.{fields}")


def _some(reasons: list[str]) -> str:
    left = len(reasons) - SHOWN
    return "; ".join(reasons[:SHOWN]) + (f"; and {left} more" if left > 0 else "")


RULES = (
    Rule(
        name="compiled-in-timed-repeats",
        about="torch.compile made graphs while repeats were timed: the reasons are the guards that did not hold.",
        figure=LATE,
        above=0.01,
        tried_on="made records only",
        cases=compiled_late,
    ),
    Rule(
        name="graph-breaks",
        about="Code in the forward pass that torch.compile cannot take into a graph cuts it into several, with the "
        "interpreter in between. The reasons are torch's own.",
        figure=BROKEN,
        above=0.3,
        tried_on="made records only",
        cases=broken,
    ),
    Rule(
        name="cuda-graphs-skipped",
        about="torch.compile was to replay its graphs as CUDA graphs on a GPU and did not.",
        figure=SKIPPED,
        above=0.3,
        tried_on="made records only",
        cases=skipped,
    ),
)
