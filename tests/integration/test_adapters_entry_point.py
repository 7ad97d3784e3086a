"""The worked example of docs/adapters.md: installed as a user would, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli_process import llmperf, read_json
from tests.plugins import write_distribution

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "llmperf-adapter-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on the path, with the example in it."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)], check=True)
    return target


def before_others(site: Path) -> str:
    """A value for PYTHONPATH."""
    return os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_example_runs(installed: Path, tmp_path: Path) -> None:
    arguments = [
        "model.name=tiny_llama",
        "dataset.prompt=Hello",
        "infer.max_new_tokens=5",
        "model.preprocess.enable=false",
    ]
    output = tmp_path / "run"
    finished = llmperf(["infer", *arguments, "--output", str(output)], tmp_path, PYTHONPATH=before_others(installed))
    assert finished.returncode == 0, finished.stderr
    record = read_json(output / "direct_inference" / "workload.json")
    assert record["model"]["adapter"] == "tiny_llama"
    assert record["model"]["model_type"] == "llama"
    assert record["batches"][0]["prompt_tokens"] == [5]
    assert len(record["batches"][0]["repeats"][0]["step_ms"]) == 4


def test_an_adapter_that_cannot_be_imported_names_its_distribution(installed: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(installed, tmp_path / "site")
    (broken / "llmperf_adapter_example" / "__init__.py").write_text("import no_such_package_here\n")
    extra = {"PYTHONPATH": str(broken)}
    finished = llmperf(["infer", "model.name=tiny_llama", "dataset.prompt=Hello"], tmp_path, timeout_s=60, **extra)
    assert finished.returncode == 3
    assert "'tiny_llama' of llmperf-adapter-example 0.1.0 cannot be imported" in finished.stderr
    assert llmperf(["config", "show"], tmp_path, timeout_s=60, **extra).returncode == 0


def test_a_model_that_exits_is_a_failed_stage_in_its_own_words(tmp_path: Path) -> None:
    source = """
import sys
from llm_perf_opt.workload.adapter import Adapter

def load(*_, **__):
    sys.exit(0)

ADAPTER = Adapter(modality="text", model_config=lambda config: {"model_type": "llama"}, load=load)
"""
    site = write_distribution(tmp_path / "site", source, entry_points={"llmperf.adapters": {"leaving": "ADAPTER"}})
    finished = llmperf(
        ["infer", "model.name=leaving", "dataset.prompt=Hello", "--output", "run"],
        tmp_path,
        timeout_s=120,
        PYTHONPATH=before_others(site),
    )
    assert finished.returncode == 1, finished.stderr
    assert "direct_inference: SystemExit: 0" in finished.stderr
    assert read_json(tmp_path / "run" / "run.json")["stages"]["direct_inference"]["status"] == "failed"


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    finished = llmperf(["infer", "model.name=causal_ml", "--dry-run"], tmp_path)
    assert finished.returncode == 2
    assert "did you mean causal_lm?" in finished.stderr
