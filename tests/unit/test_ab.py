"""A/B with children that are not started: order, looks, stopping, failures, going on after an interruption."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from llm_perf_opt.ab.execute import AbEnded, run_ab
from llm_perf_opt.ab.plan import AbPlan, Asked, plan_ab, plan_ab_resumption
from llm_perf_opt.analysis.gates import parse_gate
from llm_perf_opt.analysis.looks import Look, launch_order
from llm_perf_opt.artifacts.run_directory import RunDirectory
from llm_perf_opt.cli import main as cli
from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.records.comparison import Comparison
from llm_perf_opt.records.launches import Launches
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.workload.order import WorkOrder
from tests.launching import Children, timed

LOOKS = (Look(5, 0.016), Look(8, 0.015))
KILLED = StageError("the child was ended by SIGKILL in phase 'measure'")


class Silent:
    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None

    def stage_begins(self, name: str) -> Silent:
        return self

    def stage_ends(self, name: str, outcome: Outcome) -> None:
        self.said.append(f"{name}: {outcome.status}")

    def note(self, message: str) -> None:
        self.said.append(message)

    def problem(self, message: str) -> None:
        self.said.append(message)


def planned(path: Path | None, looks: tuple[Look, ...] = LOOKS, **asked: object) -> AbPlan:
    from llm_perf_opt.cli.running import only

    options = {**only("direct_inference"), "measure.launches": looks[-1].launches}
    config = load_config(None, ("infer.max_new_tokens=5",), options=options).config
    return plan_ab(config, config, Asked(looks=looks, **asked), ("", ""), path)  # type: ignore[arg-type]


def side_of(order: WorkOrder) -> str:
    return order.output_dir.parent.parent.name.upper()


def scaled(b: float = 1.0, scatter: float = 0.0) -> Callable[[WorkOrder], Workload]:
    """B takes `b` times as long."""
    rng = random.Random(1)
    return lambda order: timed((b if side_of(order) == "B" else 1.0) * (1 + scatter * rng.random()))


def run(plan: AbPlan) -> AbEnded:
    return run_ab(plan, ["llmperf", "ab"], Silent())


def test_launches_are_made_in_turn_and_stop_at_the_first_clear_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children.stand_in(monkeypatch, scaled(1.2, 0.01))
    ended = run(planned(tmp_path / "ab"))
    assert "".join(map(side_of, children.orders)) == launch_order(5)
    assert [order.launch.order for order in children.orders if order.launch] == list(range(10))
    assert len({order.launch.block for order in children.orders if order.launch}) == 1
    found = ended.comparison
    assert found is not None
    assert (found.outcome, found.replicate, found.level) == ("slower", "launch", 0.016)
    assert [(look.launches, look.outcome) for look in found.looks] == [(5, "slower")]
    assert ended.exit_code == 0
    for side in "ab":
        run_path = tmp_path / "ab" / side
        assert (run_path / "direct_inference" / "launch-04" / "workload.json").exists()
        assert (run_path / "report.html").exists()
        assert json.loads((run_path / "run.json").read_text())["status"] == "completed"


def test_what_is_not_clear_goes_on_to_the_last_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children.stand_in(monkeypatch, scaled(1.0, 0.5))
    found = run(planned(tmp_path / "ab")).comparison
    assert len(children.orders) == 16
    assert found is not None
    assert [look.outcome for look in found.looks] == ["cannot tell", "cannot tell"]
    assert "8 launches a side would have shown a change of" in found.verdict


def test_gates_are_what_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children.stand_in(monkeypatch, scaled(1.0, 0.2))
    gates = (parse_gate("e2e.latency_ms > +50%"),)
    found = run(planned(tmp_path / "ab", gates=gates)).comparison
    assert found is not None
    assert (found.outcome, found.gates[0].outcome, len(children.orders)) == ("cannot tell", "passed", 10)


def test_a_time_budget_ends_it_before_the_first_look_with_nothing_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def said(order: WorkOrder) -> Workload:
        clock[0] += 10.0
        return timed(2.0 if side_of(order) == "B" else 1.0)

    children = Children.stand_in(monkeypatch, said)
    monkeypatch.setattr("llm_perf_opt.ab.execute.time.monotonic", lambda: clock[0])
    gates = (parse_gate("e2e.latency_ms > +5%"),)
    found = run(planned(tmp_path / "ab", gates=gates, time_budget_s=65.0)).comparison
    assert len(children.orders) == 6
    assert found is not None
    assert (found.outcome, found.gates[0].outcome) == ("cannot tell", "inconclusive")
    assert "the time budget of 65 s was spent, and the first look is at 5 launches a side" in found.verdict


def test_a_launch_that_is_killed_is_made_again_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def said(order: WorkOrder) -> Workload | Exception:
        tried.append(side_of(order))
        return KILLED if len(tried) == 3 else timed(1.2 if side_of(order) == "B" else 1.0)

    Children.stand_in(monkeypatch, said)
    ended = run(planned(tmp_path / "ab"))
    assert ended.exit_code == 0
    assert ended.comparison is not None
    assert ended.comparison.outcome == "slower"
    entries = Launches.read(tmp_path / "ab" / "b" / "direct_inference" / "launches.json").launches
    assert [entry.measured for entry in entries].count(False) == 1
    assert "SIGKILL" in (tmp_path / "ab" / "b" / "report.md").read_text()


def test_a_side_that_cannot_be_measured_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = MissingError("no such device", "look")
    children = Children.stand_in(monkeypatch, lambda order: timed() if side_of(order) == "A" else missing)
    ended = run(planned(tmp_path / "ab"))
    assert (ended.comparison, ended.exit_code, len(children.orders)) == (None, 3, 2)


def test_different_work_is_found_after_the_first_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(order: WorkOrder) -> Workload:
        record = timed()
        return record if side_of(order) == "A" else record.model_copy(update={"batches": record.batches * 2} | OTHER)

    children = Children.stand_in(monkeypatch, said)
    found = run(planned(tmp_path / "ab")).comparison
    assert len(children.orders) == 2
    assert found is not None
    assert found.outcome == "unknown"
    assert found.verdict.startswith("Different work")


OTHER = {"work_fingerprint": "ef" * 32}


def test_an_interrupted_one_goes_on_with_whole_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ab"

    def said(order: WorkOrder) -> Workload:
        if len(children.orders) == 6:  # B of the third pair is made, its A is not
            raise KeyboardInterrupt
        return scaled(1.2)(order)

    children = Children.stand_in(monkeypatch, said)
    with pytest.raises(KeyboardInterrupt):
        run(planned(path))
    assert json.loads((path / "a" / "run.json").read_text())["status"] == "interrupted"
    children = Children.stand_in(monkeypatch, scaled(1.2))
    ended = run(plan_ab_resumption(path, None))
    assert "".join(map(side_of, children.orders)) == launch_order(5)[4:]
    assert [order.launch.order for order in children.orders if order.launch] == list(range(6))
    assert ended.comparison is not None
    assert (ended.comparison.outcome, ended.comparison.replicate) == ("slower", "launch")
    assert ended.exit_code == 0
    children = Children.stand_in(monkeypatch, scaled(1.2))
    assert run(plan_ab_resumption(path, None)).comparison == ended.comparison
    assert children.orders == []


def test_no_run_is_there_while_it_is_looked_what_it_runs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed() -> NoReturn:
        raise SystemExit(-9)

    monkeypatch.setattr("llm_perf_opt.ab.execute.run_environment", killed)
    with pytest.raises(SystemExit):
        run(planned(tmp_path / "ab"))
    assert not list(tmp_path.rglob("*.json"))


def test_a_folder_that_holds_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Children.stand_in(monkeypatch, scaled(2.0))
    run(planned(tmp_path / "ab"))
    with pytest.raises(ConfigError, match="already holds an A/B"):
        planned(tmp_path / "ab")
    with pytest.raises(MissingError, match="holds no A/B"):
        plan_ab_resumption(tmp_path, None)


def ab(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["ab", *map(str, argv)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command_prints_the_comparison_and_ends_with_the_code_of_its_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    children = Children.stand_in(monkeypatch, scaled(1.2))
    options = ("--set", "infer.cache=static", "--prefix-b", "env X='1 2'", "--output", "out")
    assert ab(*options, "--fail-if", "e2e.latency_ms > +5%", "--json") == 4
    out, err = capsys.readouterr()
    found = Comparison.model_validate_json(out)
    assert found.gates[0].outcome == "crossed"
    assert [(item.name, item.a, item.b) for item in found.config] == [("infer.cache", "dynamic", "static")]
    assert "look at 5 launches a side: B is slower than A" in err
    assert (tmp_path / "out" / "comparison" / "comparison.md").exists()
    assert set(zip(map(side_of, children.orders), children.prefixes, strict=True)) == {
        ("A", ()),
        ("B", ("env", "X=1 2")),
    }
    assert ab("--resume", "out") == 4
    with pytest.raises(SystemExit) as caught:
        cli.main(["compare", "out", "out"])
    assert caught.value.code == 2
    assert "name out/a and out/b" in capsys.readouterr().err


def test_a_secret_in_a_prefix_is_written_nowhere_and_cannot_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("llm_perf_opt.cli.ab.command_line", lambda: ["llmperf", "ab", "--prefix-a", SECRET])
    children = Children.stand_in(monkeypatch, scaled(2.0))
    assert ab("--prefix-a", SECRET, "--output", "out") == 0
    assert ("env", "HF_TOKEN=hush-hush") in children.prefixes
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert not [file for file in files if b"hush-hush" in file.read_bytes()]
    assert ab("--resume", "out") == 2
    assert "a prefix held a secret" in capsys.readouterr().err


SECRET = "env HF_TOKEN=hush-hush"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--time-budget", "soon"), "is no time"),
        (("--set", "measure.repeats"), "sets nothing"),
        (("a.yaml", "b.yaml", "c.yaml"), "more than two sides"),
        (("--prefix-a", "'"), "is no command"),
        (("--resume", "x", "--set", "a=b"), "--resume takes"),
        (("--fail-if", "e2e > 1"), "there is no figure"),
        (("--figure", "e2e"), "there is no figure"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    children = Children.stand_in(monkeypatch, scaled())
    assert ab(*argv) == 2
    assert words in capsys.readouterr().err
    assert children.orders == []


def test_the_plan_shows_the_order_and_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ab("--dry-run", "--prefix-a", "uv run --project base") == 0
    out = capsys.readouterr().out
    assert "order: ABBABAAB" in out
    assert out.count("$ uv run --project base python -m llm_perf_opt.workload") == 20
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_before_it_begins_is_refused_only_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("a", "b"):
        RunDirectory.create(tmp_path / "taken" / side, argv=["llmperf"], stages=[])
    monkeypatch.setattr("llm_perf_opt.ab.plan.new_path", lambda runs_dir, run_id: tmp_path / "taken")
    assert planned(None).numbered
    with pytest.raises(ConfigError, match="already holds a run"):
        planned(tmp_path / "taken")
