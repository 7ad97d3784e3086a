"""`llmperf sweep` through the real command line, with real runs."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli_process import LLMPERF, environment, llmperf, read_json
from tests.conftest import REPOSITORY
from tests.standins import slurm as standin
from tests.tiny_models import write_text_model

pytestmark = pytest.mark.integration
STATIC = "pipeline: {torch_profiler: {enable: false}}\n"
JOB = REPOSITORY / "docs" / "examples" / "kubernetes" / "sweep.yaml"


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in read_json(folder / "results.json")["points"]]


@pytest.mark.usefixtures("warm_command")
def test_the_script_of_the_kubernetes_job_in_two_pods(tmp_path: Path) -> None:
    """The very words of the example, as two processes on one directory; then once more."""
    job: dict[str, Any] = yaml.safe_load(JOB.read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert {entry["name"] for entry in container["env"]} == {"CONFIG", "SWEEP"}
    (tmp_path / "my.yaml").write_text(STATIC)
    folder = tmp_path / "first"
    pod = environment(CONFIG=str(tmp_path / "my.yaml"), SWEEP=str(folder))
    pod["PATH"] = f"{Path(LLMPERF).parent}{os.pathsep}{pod['PATH']}"
    words = [*container["command"], *container["args"]]
    pods = [subprocess.Popen(words, env=pod, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [started.communicate(timeout=120)[1] for started in pods]
    assert [started.returncode for started in pods] == [0, 0], said
    assert statuses(folder) == ["completed"] * 4
    runs = sorted((folder / "points").iterdir())
    assert len(runs) == 4
    created = [read_json(run / "run.json")["created"] for run in runs]
    assert sum(text.count(": started") for text in said) == 4, "no point was run twice"
    again = subprocess.run(words, env=pod, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (again.returncode, again.stderr.count(": started")) == (0, 0)
    assert [read_json(run / "run.json")["created"] for run in runs] == created


@pytest.mark.usefixtures("warm_command")
def test_a_point_that_fails_stops_no_other(tmp_path: Path) -> None:
    write_text_model(tmp_path / "good", "llama")
    write_text_model(tmp_path / "bad", "llama", num_attention_heads="many")  # read when static analysis runs
    words = ["sweep", "model.path=bad,good", "--no-torch", "--prompt-tokens", "16", "--output", "s"]
    finished = llmperf([*words, "--json"], tmp_path)
    assert finished.returncode == 1, finished.stderr
    assert statuses(tmp_path / "s") == ["failed", "completed"]
    assert "num_attention_heads" in read_json(tmp_path / "s" / "results.json")["points"][0]["reason"]
    assert "1 completed, 1 failed, 0 skipped" in finished.stderr


@pytest.mark.usefixtures("warm_child")
@pytest.mark.campaign
@pytest.mark.timeout(2400)
def test_twenty_four_points_over_two_executors_resumed_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured runs of a tiny model: jobs of Slurm and a sweeper on this machine at once, which is killed."""
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    commands = standin.install(tmp_path)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(standin.HOME, str(tmp_path / "slurm-home"))
    (tmp_path / "slurm-home" / "settings.json").write_text('{"nodes": 1}')
    model = write_text_model(tmp_path / "model", "llama")
    words = ["sweep", "infer.batch_size=1,2,4", "infer.max_new_tokens=2,3", "infer.cache=dynamic,static"]
    words += ["measure.repeats=1,2", "model.name=causal_lm", f"model.path={model}", "--prompt-tokens", "16"]
    words += ["--infer", "--no-torch", "--no-static", "--output", "s"]
    slurm = subprocess.Popen(
        [LLMPERF, *words, "--on", "slurm", "--partition", "cpu"],
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    )
    try:
        here = subprocess.Popen([LLMPERF, *words], cwd=tmp_path, env=environment(), start_new_session=True)
        time.sleep(40)
        here.kill()
        here.wait()
        again = subprocess.run([LLMPERF, *words], cwd=tmp_path, env=environment(), timeout=1500)
        assert again.returncode == 0
        assert slurm.wait(timeout=300) == 0
    finally:
        slurm.send_signal(signal.SIGTERM)
        standin.end_all()
    rows = list(csv.DictReader((tmp_path / "s" / "results.csv").open()))
    assert len(rows) == 24
    assert {row["status"] for row in rows} == {"completed"}
    assert all(float(row["e2e.tokens_per_s"]) > 0 for row in rows)
    assert len(list((tmp_path / "s" / "points").iterdir())) == 24
    by_jobs = [
        file for file in (tmp_path / "s" / "slurm").glob("*_log.out") if "completed successfully" in file.read_text()
    ]
    print(f"{len(by_jobs)} jobs ended, of 24 points", file=sys.stderr)
