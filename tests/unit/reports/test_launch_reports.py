"""What reports and `--resume` make of several launches, of launches that failed and of records of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.digests import Damage
from llm_perf_opt.artifacts.layout import LAUNCHES
from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest
from llm_perf_opt.records.launches import LaunchEntry, Launches, Place
from llm_perf_opt.reports.facts import read_run
from llm_perf_opt.reports.write import write_reports
from tests.launching import timed, write_run


def written(path: Path) -> str:
    write_reports(path, read_manifest(path))
    return (path / "report.md").read_text(encoding="utf-8")


def test_one_launch_says_within_one_launch_and_has_no_spread_between(tmp_path: Path) -> None:
    text = written(write_run(tmp_path / "run", timed(repeats=6)))
    assert "95 % CI within one launch" in text
    assert "between launches" not in text


def test_several_launches_state_both_spreads(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *[timed(1 + number / 10) for number in range(3)], block="one")
    text = written(run)
    assert "std within launches | std between launches | 95 % CI over launches" in text
    assert "within one launch" not in text
    assert "| launches | 3 |" in text
    metric = json.loads((run / "torch_profiler" / "metrics.json").read_text())["metrics"]["e2e.latency_ms"]
    assert metric["n"] == 12
    assert metric["launches"] == [0] * 4 + [1] * 4 + [2] * 4
    assert metric["launch_medians"] == pytest.approx([70 * 1.015 * scale for scale in (1.0, 1.1, 1.2)])
    assert metric["std_between_launches"] == pytest.approx(70 * 1.015 * 0.1)
    assert metric["ci95_over"] == "medians of launches"
    summary = json.loads((run / "summary.json").read_text())["measured"]["torch_profiler"]
    assert (summary["launches"], summary["metrics"]["e2e.latency_ms"]["n"]) == (3, 12)


def test_a_launch_that_left_nothing_is_named_and_the_others_count(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *[timed()] * 3, block="one")
    (run / "torch_profiler" / "launch-01" / "workload.json").unlink()
    place = Place(block="one", launch=1, order=1, started="2026-01-01T00:00:00Z")
    entry = LaunchEntry(place=place, ended="", status="failed", measured=False, reason="killed", exit_code=1)
    (run / "torch_profiler" / LAUNCHES).write_text(Launches(launches=(entry,)).model_dump_json())
    text = written(run)
    assert "launch 1 failed and does not count: killed" in text
    assert [item.number for item in read_run(run, read_manifest(run)).measured["torch_profiler"].launches] == [0, 2]


def test_launches_that_did_different_work_are_said_to(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", timed(), timed(work_fingerprint="ef" * 32), block="one")
    assert "launches did different work" in written(run)
    assert json.loads((run / "torch_profiler" / "metrics.json").read_text())["work_fingerprint"] is None


def test_more_than_a_hundred_launches_stay_in_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *[timed(1 + number / 1000, repeats=1) for number in range(102)], block="one")
    found = read_run(run, read_manifest(run)).measured["torch_profiler"]
    assert [item.number for item in found.launches] == list(range(102))


def test_of_a_stage_that_is_damaged_no_launch_is_kept(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", argv=["llmperf"], stages=["torch_profiler"])
    folder = tmp_path / "run" / "torch_profiler" / "launch-00"
    folder.mkdir(parents=True)
    (folder.parent / LAUNCHES).write_text("{}")
    directory.close()
    damage = Damage("torch_profiler/launch-00/trace.json.gz", "is missing")
    RunDirectory.reopen(tmp_path / "run", again=["torch_profiler"], damaged=[damage]).close()
    assert not (folder.parent / LAUNCHES).exists()
