"""The script of docs/ci.md on stand-in children: real command line, real processes, exit codes and Markdown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from llm_perf_opt.records.comparison import Comparison
from tests.cli_process import LLMPERF, environment
from tests.launching import timed

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "docs" / "examples" / "ci" / "base-against-head.sh"


@pytest.mark.parametrize(("head", "code", "outcome"), [(1.2, 4, "crossed"), (1.0, 0, "passed")])
def test_base_and_head_are_launched_in_turn_each_in_its_environment(
    tmp_path: Path, head: float, code: int, outcome: str
) -> None:
    for side, scale in (("base", 1.0), ("head", head)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "workload.json").write_text(timed(scale).model_dump_json())
    path = os.pathsep.join([str(REPOSITORY / "tests" / "standins"), os.environ["PATH"]])
    given = {"PATH": path, "STANDIN_LLMPERF": LLMPERF, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    finished = subprocess.run(
        ["bash", str(SCRIPT), "base", "head", "out", "--fail-if", "e2e.latency_ms > +5%", "--require-same-output"],
        cwd=tmp_path,
        env=environment(**given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == code, finished.stderr
    found = Comparison.model_validate_json((tmp_path / "out" / "comparison" / "comparison.json").read_bytes())
    assert [gate.outcome for gate in found.gates] == [outcome, "passed"]
    assert [look.launches for look in found.looks] == [5]
    assert f"- {outcome}: " in (tmp_path / "summary.md").read_text(encoding="utf-8")
