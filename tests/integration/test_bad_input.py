"""Bad input is answered with place, cause and remedy; nothing already written is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli_process import LLMPERF, environment, llmperf, read_json

pytestmark = pytest.mark.integration

PAGES = Path(__file__).parents[2] / "configs" / "dataset" / "demo_pages"
QUICK = ["measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=4"]


def one_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["run", "dataset.root=nowhere"], 3, ["nowhere is not a directory"]),
        (
            ["run", "dataset.root=pages", "dataset.subset_filelist=list.txt"],
            3,
            ["list.txt:2", "gone.png does not exist"],
        ),
        (["run", "dataset.root=pages", "dataset.subset_filelist=missing.txt"], 3, ["missing.txt does not exist"]),
        (["run", "dataset.root=empty"], 3, ["holds no images matching"]),
        (["infer", "model.name=causal_lm", "model.path=gone"], 3, ["gone does not exist"]),
        (["infer", "model.name=causal_lm"], 2, ["model.path is not set"]),
        (["infer", "model.name=causal_lm", "model.path=broken"], 2, ["config.json:1:2", "broken JSON"]),
        (["infer", "model.name=causal_lm", "model.path=empty"], 3, ["has no config.json"]),
        (["infer", "model.name=casual_lm"], 2, ["casual_lm", "did you mean causal_lm?"]),
        (["run", "--output", "taken"], 2, ["already holds a run"]),
        (["run", "--output", "pages/a.png"], 2, ["is a file, not a directory"]),
        (["run", "--wrong-flag"], 2, ["--wrong-flag"]),
        (["run", "no-such-file.yaml"], 3, ["no-such-file.yaml"]),
        (["run", "infer.max_new_tokens=inf"], 2, ["infer.max_new_tokens"]),
        (["run", "pipeline.plugins.nope={}"], 2, ["pipeline.plugins.nope"]),
    ],
)
def test_it_is_refused_before_anything_runs(tmp_path: Path, arguments: list[str], code: int, parts: list[str]) -> None:
    (tmp_path / "pages").mkdir()
    shutil.copy(PAGES / "page_1.png", tmp_path / "pages" / "a.png")
    (tmp_path / "list.txt").write_text("a.png\ngone.png\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{broken")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "run.json").write_text("{}")
    finished = llmperf(arguments, tmp_path)
    assert finished.returncode == code, finished.stderr
    for part in parts:
        assert part in one_line(finished.stderr)
    assert not (tmp_path / "tmp").exists()


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    finished = llmperf(["run", "--no-torch", "--output", "/proc/llmperf-run"], tmp_path)
    assert finished.returncode in (1, 3)
    assert "/proc/llmperf-run" in one_line(finished.stderr)
    assert "--output" in finished.stderr


@pytest.mark.usefixtures("warm_command")
def test_a_truncated_page_fails_alone(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(PAGES / "page_1.png", pages / "b_good.png")
    (pages / "a_bad.png").write_bytes((PAGES / "page_1.png").read_bytes()[:2000])
    predict = "pipeline.direct_inference.output.prediction.enable=true"
    finished = llmperf(["infer", "dataset.root=pages", "--output", "run", predict, *QUICK], tmp_path)
    assert finished.returncode == 1
    assert "1 of 2 samples failed" in one_line(finished.stderr)
    assert "a_bad.png" in finished.stderr
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["stages"]["direct_inference"]["status"] == "failed"
    lines = (tmp_path / "run" / "direct_inference" / "pred" / "predictions.jsonl").read_text().splitlines()
    bad, good = (json.loads(line) for line in lines)
    assert "a_bad.png" in bad["error"]
    assert bad["text"] is None
    assert good["error"] is None
    assert good["new_tokens"] == 4
    assert read_json(tmp_path / "run" / "direct_inference" / "metrics.json")["metrics"]["ttft_ms"]["n"] == 1


@pytest.mark.usefixtures("warm_command")
def test_cuda_without_cuda(tmp_path: Path) -> None:
    finished = llmperf(["infer", "device=cuda:7", "--output", "run", *QUICK], tmp_path)
    assert finished.returncode == 3
    assert "device: cuda:7 was asked for" in one_line(finished.stderr)
    assert read_json(tmp_path / "run" / "run.json")["exit_code"] == 3


def start(folder: Path) -> subprocess.Popen[str]:
    """A run that has many repeats to go, once its child measures."""
    child = subprocess.Popen(
        [LLMPERF, "infer", "--output", "run", "measure.repeats=100000", "measure.warmup=0"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    events = folder / "run" / "tmp" / "workload" / "direct_inference" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (events.exists() and '"measure"' in events.read_text()):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return child


def workers(folder: Path) -> list[int]:
    """Processes that work on an order in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"llm_perf_opt.workload" in line and str(folder).encode() in line:
                found.append(int(entry.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")


@needs_proc
def test_an_interrupt_stops_the_child_and_tells_the_truth(tmp_path: Path) -> None:
    parent = start(tmp_path)
    assert workers(tmp_path)
    parent.send_signal(signal.SIGTERM)
    _, stderr = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "interrupted" in one_line(stderr)
    assert not workers(tmp_path)
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["status"] == "interrupted"
    assert manifest["exit_code"] == 130
    assert manifest["stages"]["direct_inference"]["status"] == "interrupted"
    assert {"config.yaml", "report.md", "tmp/workload/direct_inference/child.log"} <= set(manifest["artifacts"])
    assert (tmp_path / "run" / "report.md").exists()


@needs_proc
def test_a_killed_child_is_a_failed_stage(tmp_path: Path) -> None:
    parent = start(tmp_path)
    for worker in workers(tmp_path):
        os.kill(worker, signal.SIGKILL)
    _, stderr = parent.communicate(timeout=60)
    assert parent.returncode == 1
    assert "the child was ended by SIGKILL in phase 'measure'" in one_line(stderr)
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["stages"]["direct_inference"]["status"] == "failed"


@needs_proc
def test_a_killed_parent_leaves_no_child_and_a_manifest_that_says_how_far_it_got(tmp_path: Path) -> None:
    parent = start(tmp_path)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers(tmp_path)
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["status"] == "running"
    assert manifest["stages"]["direct_inference"]["status"] == "running"
