"""What an A/B will do: two runs of the same stage, the order of their launches, the looks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llm_perf_opt import __version__
from llm_perf_opt.analysis.comparison import HEADLINE, Judging
from llm_perf_opt.analysis.gates import Gate, check_figure, check_names, parse_gate
from llm_perf_opt.analysis.looks import PLAN, Look
from llm_perf_opt.analysis.metrics import FIGURES
from llm_perf_opt.analysis.verdict import TOLERANCE_PERCENT
from llm_perf_opt.artifacts.claim import new_path, refuse_existing
from llm_perf_opt.artifacts.layout import AB, SIDE_A, SIDE_B
from llm_perf_opt.artifacts.run_directory import now
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.opening import read_file
from llm_perf_opt.plan.model import Plan, PlannedStage
from llm_perf_opt.records.ab import AbRecord, PlannedLook
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.run import Resumption, plan_new, plan_resumption
from llm_perf_opt.workload.order import PYTHON

STAGE = "direct_inference"
"""It does nothing but time."""


@dataclass(frozen=True)
class Asked:
    """What was chosen before looking."""

    figure: str = HEADLINE
    tolerance_percent: float = TOLERANCE_PERCENT
    gates: tuple[Gate, ...] = ()
    require_same_output: bool = False
    looks: tuple[Look, ...] = PLAN
    time_budget_s: float | None = None
    """Of one command: one that goes on with an A/B has it anew. None takes every look that is needed."""

    def judging(self, look: Look | None, too_early: str | None = None) -> Judging:
        """Of one look; of none, nothing is decided."""
        return Judging(
            figure=self.figure,
            tolerance_percent=self.tolerance_percent,
            level=(look or self.looks[0]).level,
            launches=None if look is None else look.launches,
            too_early=too_early,
        )


@dataclass(frozen=True)
class Side:
    """One of the two."""

    name: str
    plan: Plan
    prefix: tuple[str, ...] = ()
    """What its commands begin with."""
    resumption: Resumption | None = None
    """Of a run that is there already."""


@dataclass(frozen=True)
class AbPlan:
    """An A/B that has not started."""

    path: Path
    asked: Asked
    a: Side
    b: Side
    numbered: bool = False
    """The name of `path` is the time: the next number is taken where another one has it by then."""


def launches_of(asked: Asked) -> int:
    """The most a side."""
    return asked.looks[-1].launches


def plan_ab(a: Config, b: Config, asked: Asked, prefixes: tuple[str, str], output: Path | None) -> AbPlan:
    """Everything that can be known, and refused, before anything runs.

    Args:
        a, b: with only the timing stage on, and as many launches as the last look takes.
        prefixes: command prefix of A and of B, as a shell would read them; empty for none.

    Raises:
        ConfigError, MissingError: something that a side needs is wrong or not there.
    """
    check_names(asked.gates, (STAGE,), FIGURES)
    check_figure(asked.figure, FIGURES)
    path = output if output is not None else new_path(Path(a.artifacts.runs_dir), None)
    if output is not None:  # another number is taken where that of the second is in use
        if (path / AB).exists():
            remedy = f"choose another --output, or: llmperf ab --resume {path}"
            raise ConfigError(f"{path} already holds an A/B", remedy)
        for name in (SIDE_A, SIDE_B):
            refuse_existing(path / name)
    sides = [
        Side(name, with_prefix(plan_new(config, path / name), prefix), prefix)
        for name, config, prefix in zip((SIDE_A, SIDE_B), (a, b), map(split_prefix, prefixes), strict=True)
    ]
    return AbPlan(path.absolute(), asked, sides[0], sides[1], numbered=output is None)


def split_prefix(text: str) -> tuple[str, ...]:
    """The words of a prefix.

    Raises:
        ConfigError: a quotation is not closed.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"the prefix {text!r} is no command: {error}", "quote it as for a shell") from error


def with_prefix(plan: Plan, prefix: Sequence[str]) -> Plan:
    """With the commands that will run."""
    if not prefix:
        return plan

    def stage_with(stage: PlannedStage) -> PlannedStage:
        return replace(stage, commands=tuple((*prefix, PYTHON, *command[1:]) for command in stage.commands))

    return replace(plan, stages=tuple(map(stage_with, plan.stages)))


def plan_ab_resumption(path: Path, time_budget_s: float | None) -> AbPlan:
    """An A/B that exists, to go on with; what was chosen before its first launch stays.

    Raises:
        ConfigError, MissingError: there is none, or something it needs is gone.
    """
    record = read_ab(path)
    prefixes = (record.prefix_a, record.prefix_b)
    if any("***" in word for prefix in prefixes for word in prefix):
        raise ConfigError(f"{path} cannot be resumed: a prefix held a secret, which was not kept", "start a new one")
    asked = Asked(
        figure=record.figure,
        tolerance_percent=record.tolerance_percent,
        gates=tuple(map(parse_gate, record.gates)),
        require_same_output=record.require_same_output,
        looks=tuple(Look(look.launches, look.level) for look in record.looks),
        time_budget_s=record.time_budget_s if time_budget_s is None else time_budget_s,
    )
    left = [plan_resumption(path / name) for name in (SIDE_A, SIDE_B)]
    sides = [
        Side(name, item.plan, prefix, item) for name, item, prefix in zip((SIDE_A, SIDE_B), left, prefixes, strict=True)
    ]
    return AbPlan(path.absolute(), asked, sides[0], sides[1])


def read_ab(path: Path) -> AbRecord:
    """What the A/B in `path` was asked.

    Raises:
        MissingError: there is none, or its record cannot be read.
    """
    try:
        return AbRecord.model_validate_json(read_file(path / AB))
    except FileNotFoundError as error:
        raise MissingError(f"{path} holds no A/B: there is no {AB}", "name the --output of `llmperf ab`") from error
    except (OSError, ValueError) as error:
        raise MissingError(f"{path / AB} cannot be read: {error}", "start a new A/B") from error


def ab_record(plan: AbPlan, argv: Sequence[str]) -> AbRecord:
    asked = plan.asked
    return AbRecord(
        llmperf_version=__version__,
        argv=tuple(redact_argv(argv)),
        created=now(),
        stage=STAGE,
        looks=tuple(PlannedLook(launches=look.launches, level=look.level) for look in asked.looks),
        figure=asked.figure,
        tolerance_percent=asked.tolerance_percent,
        gates=tuple(gate.expression for gate in asked.gates),
        require_same_output=asked.require_same_output,
        prefix_a=tuple(redact_argv(plan.a.prefix)),
        prefix_b=tuple(redact_argv(plan.b.prefix)),
        time_budget_s=asked.time_budget_s,
    )
