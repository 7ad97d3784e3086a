"""Reports from a run directory alone: read back, written again, and honest about what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.manifest import Manifest, StageEntry
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.reports.facts import read_run
from llm_perf_opt.reports.units import in_bytes, percent, significant
from llm_perf_opt.reports.write import write_reports
from tests import records
from tests.unit.hardware.test_peaks import peaks

MANIFEST = Manifest(
    llmperf_version="0",
    argv=("llmperf", "torch"),
    created="2026-01-01T00:00:00Z",
    stages={"torch_profiler": StageEntry(status="completed")},
)
SAID = Prediction(source="/a.png", text="line\u2028one\nline two", prompt_tokens=3, new_tokens=4)


def run_directory(path: Path, config: Config) -> Path:
    """A run of torch_profiler with a prediction and a gallery."""
    facts = records.facts()
    assert facts.setup is not None
    stage = path / "torch_profiler"
    for folder in (stage / "pred", stage / "viz"):
        folder.mkdir(parents=True)
    (path / "config.yaml").write_text(to_yaml(config))
    (path / "env.json").write_text(facts.setup.environment.model_dump_json())
    (path / "inputs.yaml").write_text(facts.setup.inputs.model_dump_json())  # JSON is YAML
    (stage / "workload.json").write_text(records.workload().model_dump_json())
    (stage / "pred" / "predictions.jsonl").write_text(SAID.model_dump_json() + "\n")
    (stage / "viz" / "predictions.md").write_text("# gallery\n")
    return path


def config_with(*overrides: str) -> Config:
    return load_config(None, ["pipeline.torch_profiler.output.prediction.enable=true", *overrides]).config


def test_predictions_and_gallery_are_read_back(tmp_path: Path) -> None:
    found = read_run(run_directory(tmp_path, config_with()), MANIFEST).measured["torch_profiler"]
    assert found.predictions == (SAID,)
    assert found.gallery == "torch_profiler/viz/predictions.md"


def test_what_lies_outside_the_run_is_not_taken_for_its_own(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "predictions.jsonl").write_text(SAID.model_dump_json() + "\n")
    (elsewhere / "predictions.md").write_text("# another run's\n")
    output = "pipeline.torch_profiler.output"
    config = config_with(f"{output}.prediction.save_dir={elsewhere}", f"{output}.visualization.save_dir={elsewhere}")
    found = read_run(run_directory(tmp_path / "run", config), MANIFEST).measured["torch_profiler"]
    assert (found.predictions, found.gallery) == ((), None)


def test_reports_are_written_again_the_same(tmp_path: Path) -> None:
    path = run_directory(tmp_path, config_with())
    write_reports(path, MANIFEST)
    names = ("report.md", "report.html", "summary.json", "torch_profiler/metrics.json", "torch_profiler/report.md")
    first = {name: (path / name).read_bytes() for name in names}
    write_reports(path, MANIFEST)
    assert {name: (path / name).read_bytes() for name in names} == first
    assert "- Gallery of torch_profiler: torch_profiler/viz/predictions.md" in first["report.md"].decode()
    assert json.loads(first["summary.json"])["measured"]["torch_profiler"]["metrics"]["ttft_ms"]["median"] == 50.0
    metrics = json.loads(first["torch_profiler/metrics.json"])["metrics"]
    assert metrics["ttft_ms"]["samples"] == [50.0]
    assert metrics["prefill.mfu"]["median"] is None
    assert metrics["prefill.mfu"]["reason"]


@pytest.mark.parametrize("name", ["config.yaml", "env.json", "torch_profiler/workload.json", "inputs.yaml"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"unknown": 1}'])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = run_directory(tmp_path, config_with())
    (path / name).write_bytes(content)
    with pytest.raises(MissingError, match=name):
        read_run(path, MANIFEST)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0, "0"),
        (0.1, "0.1000"),
        (0.00012344, "0.0001234"),
        (0.0000123, "1.230e-05"),
        (1, "1.000"),
        (39.04, "39.04"),
        (1234.5, "1,234"),
        (-2.5, "-2.500"),
        (1_793_007_616, "1,793,007,616"),
    ],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert significant(value) == text


def test_bytes_and_shares() -> None:
    assert [in_bytes(value) for value in (None, 512, 3 << 20, 5 << 30)] == ["—", "512 B", "3.00 MiB", "5.00 GiB"]
    assert [percent(share) for share in (0.0, 0.1234, 1.0)] == ["0.0 %", "12.3 %", "100 %"]


def test_peaks_are_those_that_were_known_best_for_every_stage(tmp_path: Path) -> None:
    path = run_directory(tmp_path, config_with())
    device = records.workload().device
    once = peaks(device=device.device, name=device.name)
    again = once.model_copy(update={"attempts": 2})
    elsewhere = once.model_copy(update={"name": "another", "attempts": 9})
    for folder, record in (("launch-00", once), ("launch-01", again), ("launch-02", elsewhere)):
        (path / "torch_profiler" / folder).mkdir()
        (path / "torch_profiler" / folder / "peaks.json").write_text(record.model_dump_json())
    assert read_run(path, MANIFEST).measured_peaks(device) == again
