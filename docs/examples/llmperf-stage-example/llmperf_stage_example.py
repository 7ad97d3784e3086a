"""A stage of a third party: the largest absolute value that each kind of module puts out, for choosing a number format.

Everything is in this file: settings, record, plan and execution, the part in the child, the section of the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_perf_opt.config.base import Count, StageSettings
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.reports.document import Section, Table
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.stages.base import PlanContext, Stage, StageContext

if TYPE_CHECKING:
    from llm_perf_opt.plan.model import PlannedStage
    from llm_perf_opt.reports.facts import RunFacts
    from llm_perf_opt.workload.part import PartContext

RANGES = "ranges.json"


class ActivationRanges(StageSettings):
    """The largest absolute value that each kind of module puts out."""

    top: Count = 10
    """How many kinds of modules to list."""


class Range(Record):
    """All modules of one class."""

    module: str
    modules: int
    largest: float


class Ranges(Record):
    """`ranges.json`."""

    SUMMARY = "activation_ranges"

    ranges: tuple[Range, ...]
    """By falling value."""


def plan(context: PlanContext[ActivationRanges]) -> PlannedStage:
    from llm_perf_opt.stages.part import plan_part

    return plan_part(context, notes=("the first sample is run once with hooks on all modules",), files=(RANGES,))


def execute(context: StageContext[ActivationRanges]) -> Outcome:
    from llm_perf_opt.stages.part import run_part

    run_part(context, measure)
    return Outcome.completed()


def measure(context: PartContext[ActivationRanges]) -> None:
    """The part in the child, where torch and the model are."""
    import torch

    from llm_perf_opt.artifacts.files import write_text

    largest: dict[str, float] = {}
    counts: dict[str, int] = {}

    def look(module: torch.nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            name = type(module).__name__
            largest[name] = max(largest.get(name, 0.0), float(output.abs().max()))

    handles = []
    for module in context.session.loaded.model.modules():
        counts[type(module).__name__] = counts.get(type(module).__name__, 0) + 1
        handles.append(module.register_forward_hook(look))
    try:
        context.session.run_once(next(context.session.readable_batches()))
    finally:
        for handle in handles:
            handle.remove()
    ordered = sorted(largest.items(), key=lambda item: (-item[1], item[0]))[: context.settings.top]
    found = (Range(module=name, modules=counts[name], largest=value) for name, value in ordered)
    write_text(context.output_dir / RANGES, Ranges(ranges=tuple(found)).model_dump_json(indent=2) + "\n")


def section(facts: RunFacts) -> Section | None:
    found = facts.first(Ranges)
    if found is None:
        return None
    rows = tuple((item.module, str(item.modules), f"{item.largest:.3g}") for item in found.ranges)
    table = Table(("kind of module", "modules", "largest absolute value"), rows, numeric=frozenset({1, 2}))
    return Section("Activation ranges", (table,))


STAGE = Stage(
    settings=ActivationRanges,
    records={RANGES: "llmperf_stage_example:Ranges"},
    planner=plan,
    execute=execute,
)
SECTION = ReportSection(65, section)
