"""Stages, toggles and save_dir behave as specified, whichever way they are set."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from llm_perf_opt import run
from llm_perf_opt.artifacts.layout import save_dir
from llm_perf_opt.config.load import load_config
from tests.cli_process import llmperf, read_json

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

STAGES = ("static_analysis", "torch_profiler", "direct_inference", "nsys", "ncu")
QUICK = ["measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=3", "dataset.sampling.num_samples_per_epoch=1"]


@pytest.mark.parametrize("wanted", [on for on in itertools.product([False, True], repeat=len(STAGES)) if any(on)])
def test_every_combination_plans_exactly_what_is_enabled(tmp_path: Path, wanted: tuple[bool, ...]) -> None:
    overrides = [f"pipeline.{stage}.enable={str(on).lower()}" for stage, on in zip(STAGES, wanted, strict=True)]
    plan = run.plan_run(load_config(None, overrides, cwd=tmp_path).config, tmp_path / "run")
    assert [stage.name for stage in plan.stages] == [stage for stage, on in zip(STAGES, wanted, strict=True) if on]
    assert not list(tmp_path.iterdir()), "planning writes nothing"


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        (["run"], ["static_analysis", "torch_profiler"]),
        (["run", "--no-static"], ["torch_profiler"]),
        (["run", "--no-torch"], ["static_analysis"]),
        (["run", "--nsys", "--ncu"], ["static_analysis", "torch_profiler", "nsys", "ncu"]),
        (["run", "--no-torch", "pipeline.torch_profiler.enable=true"], ["static_analysis"]),
        (["run", "pipeline.static_analysis.enable=false"], ["torch_profiler"]),
        (["torch", "pipeline.direct_inference.enable=true"], ["torch_profiler"]),
        (["infer"], ["direct_inference"]),
    ],
)
def test_options_are_stronger_than_overrides(tmp_path: Path, arguments: list[str], stages: list[str]) -> None:
    finished = llmperf([*arguments, "--dry-run"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    headings = [line.rstrip(":") for line in finished.stdout.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == stages
    assert not list(tmp_path.iterdir())


def test_a_run_of_nothing_is_refused(tmp_path: Path) -> None:
    finished = llmperf(["run", "--no-static", "--no-torch"], tmp_path)
    assert finished.returncode == 2
    assert "no stage is enabled" in finished.stderr


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        (None, "/run/stage/pred"),
        ("pred", "/run/stage/pred"),
        ("a/b", "/run/stage/a/b"),
        (".", "/run/stage"),
        ("/x", "/x"),
    ],
)
def test_save_dir(configured: str | None, expected: str) -> None:
    assert save_dir(Path("/run/stage"), configured, "pred") == Path(expected)


def test_both_measuring_stages_write_where_they_are_told(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    finished = llmperf(
        [
            *("run", "--no-static", "--output", "run", *QUICK),
            "pipeline.torch_profiler.output.prediction.enable=true",
            "pipeline.torch_profiler.output.prediction.save_dir=.",
            "pipeline.torch_profiler.warmup_rounds=0",
            "pipeline.direct_inference.enable=true",
            "pipeline.direct_inference.output.prediction.enable=true",
            f"pipeline.direct_inference.output.prediction.save_dir={elsewhere}",
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "run" / "torch_profiler" / "predictions.jsonl").is_file()
    assert (elsewhere / "predictions.jsonl").is_file()
    assert not list((tmp_path / "run").rglob("pred"))
    stages = read_json(tmp_path / "run" / "run.json")["stages"]
    assert stages["torch_profiler"]["work_fingerprint"] == stages["direct_inference"]["work_fingerprint"]
