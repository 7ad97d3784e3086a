"""Finding runs, listing them, and their trend, on hand-made runs; whatever is wrong with one costs that one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.trend import FIGURES
from llm_perf_opt.artifacts.history import past_runs
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.cli.progress import Silent
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.history import Trend, TrendSeries
from llm_perf_opt.records.machine import MachineMoment, MachineState, MomentName
from llm_perf_opt.records.workload import RankFacts
from llm_perf_opt.reports.facts import read_run
from llm_perf_opt.reports.machine import compare_machines_of
from llm_perf_opt.reports.run_list import list_runs
from llm_perf_opt.reports.trend_runs import trend_of
from tests.history import change_json, past_run, written
from tests.launching import timed
from tests.records import model, workload

STAGE = "torch_profiler"


def trend(folder: Path) -> Trend:
    runs, passed = past_runs([folder])
    return trend_of(runs, passed, FIGURES, tolerance_percent=1.0, progress=Silent())


def only(folder: Path) -> TrendSeries:
    (series,) = trend(folder).series
    return series


def changed(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_runs_are_found_at_every_depth_newest_first_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    past_run(tmp_path / "nightly" / "one", 1)
    past_run(tmp_path / "two", 2)
    for name, day in (("a", 3), ("b", 4)):
        past_run(tmp_path / "ab" / name, day)
    (tmp_path / "ab" / "ab.json").write_text("{}")
    (tmp_path / "ab" / "comparison").mkdir()
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "two" / "inside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "two")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    runs, passed = past_runs([tmp_path, tmp_path / "two"])
    assert [run.path.relative_to(tmp_path).as_posix() for run in runs] == ["ab/b", "ab/a", "two", "nightly/one"]
    assert {item.path.name: item.reason.split(":")[0] for item in passed} == {
        "notes": "it holds no run",
        "broken": f"{tmp_path}/broken/run.json cannot be read as the manifest of a run",
    }
    with pytest.raises(MissingError, match="no folder"):
        past_runs([tmp_path / "nowhere"])


def test_the_list_has_figures_or_the_reason_why_not(tmp_path: Path) -> None:
    past_run(tmp_path / "good", 1, launches=3)
    killed = past_run(tmp_path / "killed", 2)
    change_json(killed / "run.json", status="running")
    (killed / "summary.json").unlink()
    foreign = past_run(tmp_path / "foreign", 3)
    (foreign / "summary.json").write_text("[]")
    runs, passed = past_runs([tmp_path])
    found = list_runs(runs, passed, 0)
    assert [Path(run.path).name for run in found.runs] == ["foreign", "killed", "good"]
    bad, running, good = found.runs
    assert (good.status, good.stage, good.launches, good.dtype, good.device) == (
        *("completed", STAGE, 3, "float16", "A GPU"),
    )
    assert good.figures["ttft_ms"].median == pytest.approx(50 * 1.015, rel=0.01)
    assert (running.status, running.figures) == ("running", {})
    assert "has not ended" in str(running.reason)
    assert "cannot be read" in str(bad.reason)
    assert list_runs(runs, passed, 1).found == 3
    assert len(list_runs(runs, passed, 1).runs) == 1


def test_of_two_stages_the_one_that_only_timed_is_quoted(tmp_path: Path) -> None:
    written(tmp_path / "both", 1, timed(), timed(2.0, stage="direct_inference", timings_only=True))
    runs, passed = past_runs([tmp_path])
    (listed,) = list_runs(runs, passed, 0).runs
    assert listed.stage == only(tmp_path).points[0].stage == "direct_inference"
    assert listed.figures["ttft_ms"].median == pytest.approx(101.5)

    # llmperf 0.2 did not say which did.
    def forget(summary: dict[str, Any]) -> None:
        for measured in summary["measured"].values():
            measured.pop("timings_only")

    changed(tmp_path / "both" / "summary.json", forget)
    assert list_runs(runs, passed, 0).runs[0].stage == "direct_inference"


def test_a_series_goes_on_where_output_execution_software_and_machine_change(tmp_path: Path) -> None:
    device = workload().device
    past_run(tmp_path / "0", 0)
    past_run(tmp_path / "1", 1, execution="compile")
    past_run(tmp_path / "2", 2, execution="compile", work_fingerprint="ef" * 32)
    past_run(tmp_path / "3", 3, device=device.model_copy(update={"torch_version": "3.x", "name": "Another GPU"}))
    series = only(tmp_path)
    marks = [[(mark.kind, mark.name, mark.before, mark.after) for mark in point.marks] for point in series.points]
    assert marks == [
        [],
        [("execution", "execution", "eager", "compile")],
        [("output", "fingerprint", "cd" * 6, "ef" * 6)],
        [
            ("execution", "execution", "compile", "eager"),
            ("software", "torch", "2.x", "3.x"),
            ("machine", "device", "A GPU", "Another GPU"),
        ],
    ]
    assert [Path(point.path).name for point in series.points] == ["0", "1", "2", "3"]


RANK = RankFacts(rank=0, world_size=2, host="a", backend="nccl", weight_bytes=1)


def test_a_model_on_several_ranks_is_read_through_the_first_and_marked(tmp_path: Path) -> None:
    past_run(tmp_path / "0", 0)
    run = past_run(tmp_path / "1", 1, rank=RANK)
    (run / STAGE / "rank-0").mkdir()
    (run / STAGE / "workload.json").rename(run / STAGE / "rank-0" / "workload.json")
    _, after = only(tmp_path).points
    assert [(mark.kind, mark.name, mark.before, mark.after) for mark in after.marks] == [
        ("execution", "ranks", "1", "2")
    ]


def test_the_other_ranks_of_a_model_are_no_load_of_others(tmp_path: Path) -> None:
    sides = []
    for name, rank, busy_cores in (("one", None, 1), ("sharded", RANK, 9), ("loaded", None, 9)):
        run = past_run(tmp_path / name, 0, rank=rank)
        moments = [
            MachineMoment(moment=moment, at_s=at_s, busy_core_s=busy_cores * at_s, own_core_s=at_s)
            for moment, at_s in (START, END)
        ]
        state = MachineState(recorded=True, cores=8, moments=tuple(moments))
        (run / STAGE / "machine.json").write_text(state.model_dump_json())
        sides.append([read_run(run, read_manifest(run))])
    one, sharded, loaded = sides
    assert compare_machines_of(one, sharded, STAGE, in_turn=False).changes == ()
    assert [item.effect for item in compare_machines_of(one, loaded, STAGE, in_turn=False).changes] == ["withheld"]


START: tuple[MomentName, float] = ("start", 0.0)
END: tuple[MomentName, float] = ("end", 10.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": model(dtype="bfloat16")},
        {"model": model(weights_id="ef" * 32)},
        {"model": model(weights="random", weights_id="random:0", config={"hidden_size": 8})},
        {"model": model(parameters=7)},
    ],
)
def test_another_model_type_or_weights_is_another_series(tmp_path: Path, changes: dict[str, Any]) -> None:
    past_run(tmp_path / "old", 0)
    past_run(tmp_path / "new", 1, **changes)
    found = trend(tmp_path)
    assert [len(series.points) for series in found.series] == [1, 1]
    assert Path(found.series[0].points[0].path).name == "new", "that with the newest run comes first"


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [("config.yaml", "max_new_tokens: 32", "max_new_tokens: 33"), ("inputs.yaml", "0" * 64, "1" * 64)],
)
def test_other_lengths_and_inputs_are_another_series(tmp_path: Path, file: str, key: str, value: str) -> None:
    past_run(tmp_path / "old", 0)
    new = past_run(tmp_path / "new", 1)
    text = (new / file).read_text()
    assert key in text
    (new / file).write_text(text.replace(key, value))
    assert len(trend(tmp_path).series) == 2


def test_what_transformers_adds_to_a_configuration_ends_no_series(tmp_path: Path) -> None:
    past_run(tmp_path / "old", 0, model=model(weights="random", config={"hidden_size": 8, "torch_dtype": "float16"}))
    now = {"hidden_size": 8, "dtype": "float16", "_name_or_path": "", "rope_scaling": None}
    past_run(tmp_path / "new", 1, model=model(weights="random", config=now))
    assert len(only(tmp_path).points) == 2


def test_records_of_older_and_newer_versions_are_points_too(tmp_path: Path) -> None:
    old = past_run(tmp_path / "old", 0)

    def as_before(metrics: dict[str, Any]) -> None:
        for metric in metrics["metrics"].values():
            for key in ("ci95_over", "launch_medians", "launches", "std_within_launches", "std_between_launches"):
                metric.pop(key)
        metrics["metrics"].pop("decode.tokens_per_s")

    changed(old / STAGE / "metrics.json", as_before)
    change_json(old / STAGE / "workload.json", hardware={"recorded": False}, instrumented=None, schema_version=0)
    new = past_run(tmp_path / "new", 1)
    change_json(new / STAGE / "workload.json", a_key_of_tomorrow=1, schema_version=9)
    before, after = only(tmp_path).points
    assert before.figures["ttft_ms"].replicate == pytest.approx(after.figures["ttft_ms"].replicate)
    assert "did not know" in str(before.figures["decode.tokens_per_s"].reason)


def test_launches_that_failed_a_clock_that_was_set_back_and_throttling_are_said(tmp_path: Path) -> None:
    run = past_run(tmp_path / "run", 5, launches=4)
    shutil.rmtree(run / STAGE / "launch-02")
    entry = {"status": "failed", "reason": "1 of 4 launches failed, 3 were measured; launch 2: killed"}
    change_json(run / "run.json", stages={STAGE: entry}, ended="2026-01-02T00:00:00Z")
    changed(run / STAGE / "metrics.json", lambda metrics: metrics.update(throttled=True))
    (point,) = only(tmp_path).points
    assert point.launches == 3
    assert point.notes[0] == f"{STAGE} failed: {entry['reason']}"
    assert point.notes[1] == "the GPU was throttled"
    assert "clock was set back" in point.notes[2]


def test_a_run_of_the_future_says_so_and_stays(tmp_path: Path) -> None:
    change_json(past_run(tmp_path / "run", 5) / "run.json", created="9026-01-02T00:00:00.000Z")
    (point,) = only(tmp_path).points
    assert "made after today" in point.notes[-1]


@pytest.mark.parametrize("wrong", [None, [-1.0], [float("inf")]])
def test_a_figure_that_is_no_amount_has_no_point(tmp_path: Path, wrong: list[float] | None) -> None:
    run = past_run(tmp_path / "run", 0)

    def spoil(metrics: dict[str, Any]) -> None:
        figure = metrics["metrics"]["ttft_ms"]
        figure.update({"median": None, "samples": []} if wrong is None else {"samples": wrong, "batches": [0]})

    changed(run / STAGE / "metrics.json", spoil)
    if wrong == [float("inf")]:  # JSON has no such number
        assert trend(tmp_path).series == () or only(tmp_path).points[0].figures["ttft_ms"].replicate is None
        return
    figure = only(tmp_path).points[0].figures["ttft_ms"]
    assert (figure.replicate, figure.median) == (None, None)
    assert figure.reason


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def spoil(name: str, text: str) -> Callable[[Path], None]:
    def over(run: Path) -> None:
        (run / name).write_text(text)

    return over


def tamper(run: Path) -> None:
    change_json(run / "run.json", artifacts={f"{STAGE}/metrics.json": "0" * 64})


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (remove(f"{STAGE}/workload.json"), "no stage timed the model"),
        (remove(f"{STAGE}/metrics.json"), "metrics.json cannot be read: No such file"),
        (remove("env.json"), "env.json cannot be read"),
        (spoil("env.json", "[]"), "env.json cannot be read"),
        (spoil("config.yaml", "- 1"), "config.yaml cannot be read"),
        (spoil("config.yaml", "infer: 3"), "config.yaml cannot be read"),
        (spoil("config.yaml", "a: [&x *y]"), "config.yaml cannot be read"),
        (spoil("inputs.yaml", "samples: []"), "ran no sample of inputs.yaml"),
        (spoil(f"{STAGE}/workload.json", '{"batches": 1}'), "workload.json cannot be read"),
        (spoil(f"{STAGE}/metrics.json", "\x00"), "metrics.json cannot be read"),
        (tamper, "was changed"),
        (lambda run: change_json(run / "run.json", created="yesterday"), "is no time"),
        (
            lambda run: change_json(
                run / "run.json",
                imported=[{"source": "/a", "kind": "k", "what": "w", "size_bytes": 1, "sha256": None, "stored": None}],
            ),
            "imported",
        ),
    ],
)
def test_a_run_that_cannot_be_used_is_passed_over_and_the_others_stay(
    tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    past_run(tmp_path / "good", 0)
    harm(past_run(tmp_path / "bad", 1))
    found = trend(tmp_path)
    assert [Path(point.path).name for series in found.series for point in series.points] == ["good"]
    (passed,) = found.passed_over
    assert Path(passed.path).name == "bad"
    assert reason in passed.reason
