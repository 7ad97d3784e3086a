"""Processes that are forked off one with their imports done: they are, and they end as others do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_perf_opt.stages.child import CHILD_ENVIRONMENT
from tests import odd_stages
from tests.cli_process import LLMPERF, environment, read_json
from tests.warm.client import TORCH

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("warm_command"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="children start as ever here"),
]


def conditions(**extra: str) -> str:
    """As a child of a stage finds them."""
    command = [sys.executable, "-c", "import client; print(client.conditions(), end='')"]
    return subprocess.run(command, env=environment(**CHILD_ENVIRONMENT, **extra), stdout=-1, text=True).stdout


def test_a_child_of_a_stage_finds_the_conditions_of_the_server_and_another_environment_does_not() -> None:
    there = (Path(os.environ["WARM_CHILDREN"]) / f"{TORCH}.json").read_text()
    assert conditions() == there
    assert conditions(MY_TOKEN="x", NVTX_INJECTION64_PATH="/x.so") == there
    for name in ("LD_PRELOAD", "HF_HOME", "TORCH_LOGS"):
        assert conditions(**{name: ""}) != there


def test_streams_exit_code_and_directory_are_the_childs_own(tmp_path: Path) -> None:
    order: dict[str, object] = {
        "config": {"model_type": "walrus"},
        "images": [],
        "where": "here",
        "views": None,
        "pixel_limits": None,
    }
    finished = subprocess.run(
        [sys.executable, "-m", "llm_perf_opt.analysis.traced"],
        cwd=tmp_path,
        env=environment(),
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2, finished.stderr
    assert "knows no model_type 'walrus'" in json.loads(finished.stdout)["message"]


def test_a_command_is_forked_off_and_leaves_nothing_when_it_is_killed(tmp_path: Path) -> None:
    """What it was forked off ends it, and its supervisors what it started."""
    path = [odd_stages.install(tmp_path / "site"), os.environ["PYTHONPATH"]]
    command = [LLMPERF, *odd_stages.only("waiting"), "--output", "run"]
    env = environment(PYTHONPATH=os.pathsep.join(path))
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=-1, stderr=-1, text=True) as process:
        begun = tmp_path / "run" / "tmp" / "workload" / "waiting" / "begun"
        deadline = time.monotonic() + 60
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        own = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        process.kill()
        process.communicate(timeout=20)  # the streams end when nobody holds them any more
    assert read_json(tmp_path / "run" / "run.json")["status"] == "running"
    # Were it not forked off, every test would pass, and take longer: a stage's program would be its own child.
    assert own == ""
