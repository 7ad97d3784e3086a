"""`llmperf run` on the built-in demo: what a new user gets."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from llm_perf_opt.config.load import load_config
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.peaks import MeasuredPeaks
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Workload
from tests.browser import Browser
from tests.cli_process import llmperf, read_json

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    finished = llmperf(["run", "--output", "run", "measure.repeats=2"], folder)
    return folder / "run", finished


def test_it_completes_and_says_where_the_results_are(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, finished = run
    assert finished.returncode == 0, finished.stderr
    assert f"run directory: {path.name}\n" in finished.stdout
    assert "Traceback" not in finished.stderr


def test_the_manifest_names_every_stage_and_every_file(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    manifest = Manifest.model_validate_json((path / "run.json").read_bytes())
    assert manifest.status == "completed"
    assert {name: entry.status for name, entry in manifest.stages.items()} == {
        "static_analysis": "completed",
        "torch_profiler": "completed",
    }
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    assert set(manifest.artifacts) == set(files) - {"run.json", "llmperf.log"}
    for name, digest in manifest.artifacts.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name


def test_it_leaves_the_run_directory_of_the_specification(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    path, _ = run
    expected = {
        *("config.yaml", "env.json", "inputs.yaml", "report.md", "report.html", "summary.json"),
        *("static_analysis/static_compute.json", "static_analysis/static_compute.md"),
        *(f"torch_profiler/{name}" for name in ("report.md", "operators.md", "metrics.json", "trace.json.gz")),
    }
    assert not {name for name in expected if not (path / name).is_file()}
    assert not [name for name in ("direct_inference", "nsys", "ncu") if (path / name).exists()]
    assert not list(path.rglob(".*")), "temporary files are left behind"


def test_the_resolved_configuration_loads_back(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    again = load_config(path / "config.yaml").config
    assert again == load_config(None, ["measure.repeats=2"], cwd=path.parent).config


def test_the_inputs_are_named_with_their_digests(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    inputs = yaml.safe_load((path / "inputs.yaml").read_text())
    for sample in inputs["samples"]:
        assert hashlib.sha256(Path(sample["path"]).read_bytes()).hexdigest() == sample["sha256"]
    assert [Path(sample["path"]).name for sample in inputs["samples"]] == ["page_1.png", "page_2.png"]


def test_the_raw_repeats_are_consistent(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    record = Workload.model_validate_json((path / "torch_profiler" / "workload.json").read_bytes())
    assert len(record.batches) == 2
    for batch in record.batches:
        assert len(batch.repeats) == 2
        for repeat in batch.repeats:
            assert repeat.new_tokens == (32,)
            assert len(repeat.step_ms) == 31
            assert repeat.decode_ms == pytest.approx(sum(repeat.step_ms))
            assert repeat.preprocess_ms + repeat.prefill_ms <= repeat.ttft_ms <= repeat.e2e_ms
            assert sum(repeat.step_ms) <= repeat.e2e_ms - repeat.ttft_ms + repeat.prefill_ms


def test_ratios_are_held_against_the_measured_peak(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    metrics = Metrics.model_validate_json((path / "torch_profiler" / "metrics.json").read_bytes()).metrics
    for name in ("ttft_ms", "prefill.latency_ms", "decode.tpot_ms", "decode.tokens_per_s", "e2e.latency_ms"):
        assert metrics[name].n == 4
        assert len(metrics[name].samples) == 4
    if read_json(path / "torch_profiler" / "workload.json")["device"]["device"] == "cpu":
        peaks = MeasuredPeaks.read(path / "torch_profiler" / "peaks.json")
        for name in ("prefill.mfu", "decode.mfu"):
            assert metrics[name].median is not None, metrics[name].reason
            assert (metrics[name].note or "").startswith(f"against {peaks.label('float32')}")
        cache = peaks.last_level_cache_bytes
        why = "fit the last-level cache" if cache is not None else "last-level cache is not known"
        assert metrics["decode.mbu"].median is None
        assert why in (metrics["decode.mbu"].reason or "")
        assert "by the measured peak of" in (path / "report.md").read_text(encoding="utf-8")


def test_operators_add_up_to_the_phases(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    operators = ProfileTables.read(path / "torch_profiler" / "profile.sqlite").operators
    profile = read_json(path / "torch_profiler" / "profile.json")
    for phase in ("prefill", "decode"):
        own = sum(row.self_cpu_ns for row in operators if row.phase == phase)
        assert own / 1e6 == pytest.approx(profile["phase_ms"][phase], rel=1e-6)


def test_the_trace_opens_and_holds_the_ranges(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    with gzip.open(path / "torch_profiler" / "trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    names = {event.get("name") for event in events}
    assert {"prefill", "decode", "sam", "clip", "projector"} <= names


def test_the_reports_say_what_was_measured(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    path, _ = run
    report = (path / "report.md").read_text()
    fingerprint = read_json(path / "run.json")["stages"]["torch_profiler"]["work_fingerprint"]
    unknown = "decode.mbu: not measured"
    for text in ("Where the time goes", unknown, "Operators and kernels", fingerprint, "Environment"):
        assert text in report
    summary = read_json(path / "summary.json")
    assert summary["measured"]["torch_profiler"]["work_fingerprint"] == fingerprint
    assert summary["static"]["model"]["model_type"] == "deepseek_ocr2"


def test_a_second_run_into_the_same_directory_is_refused(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    path, _ = run
    before = (path / "run.json").read_bytes()
    finished = llmperf(["run", "--output", str(path)], path.parent)
    assert finished.returncode == 2
    assert "already holds a run" in finished.stderr
    assert (path / "run.json").read_bytes() == before


@pytest.mark.browser
def test_the_page_of_the_demo_answers_first(
    run: tuple[Path, subprocess.CompletedProcess[str]], chromium: Browser
) -> None:
    path, _ = run
    chromium.resize(1280)
    chromium.open(path / "report.html")
    assert chromium.faults == []
    first = "document.querySelector('main > section:first-child"
    assert chromium.eval(f"{first} .lead').textContent") == read_json(path / "summary.json")["answer"]
    assert chromium.eval("document.querySelectorAll('.tile').length") == 5
    assert chromium.eval("[...document.images].map(image => image.complete && image.naturalWidth > 100)") == [
        True,
        True,
    ]
    without_pictures = chromium.eval("[...document.images].reduce((sum, image) => sum + image.src.length, 0)")
    assert (path / "report.html").stat().st_size - without_pictures <= 500_000
