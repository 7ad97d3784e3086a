"""Several launches of a stage: which are made, what each leaves, and what becomes of those that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.launches import Launches
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.timed import plan_timed, run_timed
from llm_perf_opt.workload.order import WorkOrder, child_argv
from tests.launching import Children, timed
from tests.records import facts as records_facts

KILLED = StageError("the child was ended by SIGKILL in phase 'measure'")


class Seen:
    def __init__(self) -> None:
        self.phases: list[str] = []

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        self.phases.append(phase)


def context(path: Path, *overrides: str) -> StageContext:  # type: ignore[type-arg]
    setup = records_facts().setup
    assert setup is not None
    config = load_config(None, ("pipeline.direct_inference.output.prediction.enable=true", *overrides)).config
    settings = config.pipeline.section("direct_inference")
    return StageContext("direct_inference", settings, config, path, setup.inputs, Seen())


def planned(path: Path, launches: int) -> PlannedStage:
    made = context(path, f"measure.launches={launches}")
    return plan_timed(PlanContext(made.name, made.settings, made.config, path))


def test_the_plan_shows_every_child(tmp_path: Path) -> None:
    scratch = tmp_path / "tmp" / "workload" / "direct_inference"
    assert planned(tmp_path, 1).commands == (tuple(child_argv(scratch / "order.json")),)
    folders = ("launch-00", "launch-01", "launch-02")
    assert planned(tmp_path, 3).commands == tuple(tuple(child_argv(scratch / name / "order.json")) for name in folders)


def test_one_launch_has_no_level_and_no_record_of_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children.stand_in(monkeypatch, lambda _: timed())
    assert run_timed(context(tmp_path)).status == "completed"
    assert sorted(path.name for path in (tmp_path / "direct_inference").iterdir()) == ["tokens.json", "workload.json"]
    (order,) = children.orders
    assert order.launch is not None
    assert (order.launch.launch, order.launch.order) == (0, 0)


def test_every_launch_keeps_its_place_and_the_first_makes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children.stand_in(monkeypatch, lambda _: timed())
    made = context(tmp_path, "measure.launches=3")
    assert run_timed(made, "a:part").status == "completed"
    stage = tmp_path / "direct_inference"
    places = [Workload.read(stage / f"launch-{number:02d}" / "workload.json").launch for number in range(3)]
    assert [(place.launch, place.order) for place in places if place] == [(0, 0), (1, 1), (2, 2)]
    assert len({place.block for place in places if place}) == 1
    assert [order.part for order in children.orders] == ["a:part", None, None]
    assert [order.prediction_dir for order in children.orders] == [stage / "pred", None, None]
    assert {order.timings_only for order in children.orders} == {False}
    assert len({order.scratch_dir for order in children.orders}) == 3
    assert isinstance(made.progress, Seen)
    assert made.progress.phases == [f"launch {number} of 3: measure" for number in (1, 2, 3)]


def test_one_that_is_killed_costs_itself_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(order: WorkOrder) -> Workload | Exception:
        assert order.launch is not None
        return KILLED if order.launch.launch == 0 else timed()

    children = Children.stand_in(monkeypatch, said)
    outcome = run_timed(context(tmp_path, "measure.launches=3"), "a:part")
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert outcome.reason == f"1 of 3 launches failed, 2 were measured; launch 0: {KILLED.message}"
    assert [order.part for order in children.orders] == ["a:part", "a:part", None]
    entries = Launches.read(tmp_path / "direct_inference" / "launches.json").launches
    assert [(entry.status, entry.measured) for entry in entries] == [
        ("failed", False),
        ("completed", True),
        ("completed", True),
    ]


def test_resuming_makes_what_is_missing_in_a_block_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {1}

    def said(order: WorkOrder) -> Workload | Exception:
        assert order.launch is not None
        return KILLED if order.launch.launch in failing else timed()

    children = Children.stand_in(monkeypatch, said)
    made = context(tmp_path, "measure.launches=3")
    assert run_timed(made).status == "failed"
    failing.clear()
    children.orders.clear()
    assert run_timed(made, "a:part").status == "completed"
    (order,) = children.orders
    assert order.launch is not None
    assert (order.launch.launch, order.part) == (1, None)
    entries = Launches.read(tmp_path / "direct_inference" / "launches.json").launches
    assert [entry.place.launch for entry in entries] == [0, 1, 2]
    assert len({entry.place.block for entry in entries}) == 2


@pytest.mark.parametrize(
    ("error", "tried", "code"),
    [(KILLED, 2, 1), (MissingError("no such device", "look"), 1, 3)],
)
def test_what_fails_alike_each_time_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, tried: int, code: int
) -> None:
    children = Children.stand_in(monkeypatch, lambda _: error)
    outcome = run_timed(context(tmp_path, "measure.launches=9"))
    assert (len(children.orders), outcome.exit_code) == (tried, code)
    assert "none was measured" in str(outcome.reason)
