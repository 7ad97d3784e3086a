"""What the stages share that do something of their own in a child, without timed repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llm_perf_opt.artifacts.layout import ORDER
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.registry import reference_to
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.child import run_child
from llm_perf_opt.workload.order import WorkOrder, child_argv

Part = str | Callable[[Any], None]
"""What the child does, given a `workload.part.PartContext`: a function, or its `module:function`."""


def plan_part(context: PlanContext[Any], *, notes: Sequence[str] = (), files: Sequence[str] = ()) -> PlannedStage:
    """One child."""
    command = tuple(child_argv(context.scratch_dir / ORDER, context.config.parallel))
    return PlannedStage(context.name, context.output_dir, (command,), notes=tuple(notes), files=tuple(files))


def run_part(context: StageContext[Any], part: Part) -> None:
    """Load the model in a fresh child, warm it up, and call `part` there; what it writes is in the stage's directory.

    Raises:
        StageError, ConfigError, MissingError: what the child itself raised, or that it failed, crashed or hung.
    """
    order = WorkOrder(
        stage=context.name,
        config=context.config,
        inputs=context.inputs,
        scratch_dir=context.scratch_dir,
        output_dir=context.output_dir,
        timed=False,
        part=part if isinstance(part, str) else reference_to(part),
    )
    run_child(order, context.progress)
