"""The parent process imports neither torch nor anything else that is slow, whatever the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli_process import environment

pytestmark = pytest.mark.integration

HEAVY = ("torch", "transformers", "numpy", "tokenizers", "PIL", "nvtx", "accelerate")
SCRIPT = """
import json, sys
from llm_perf_opt.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def modules_after(arguments: list[str], cwd: Path) -> set[str]:
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(finished.stdout.splitlines()[-1])
    assert code == 0, finished.stderr
    return set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["config", "validate"],
        ["config", "show"],
        ["run", "--dry-run"],
        ["run", "--no-torch", "--output", "run"],
        ["infer", "--output", "run", "measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=2"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(tmp_path: Path, arguments: list[str]) -> None:
    # The pictures of the page of a run are made smaller when it is written.
    may = {"PIL"} if arguments[0] == "infer" else set()
    assert modules_after(arguments, tmp_path) & set(HEAVY) <= may


@pytest.mark.parametrize("arguments", [["--help"], ["config", "validate"]], ids=" ".join)
def test_validating_imports_no_rich_and_no_settings_library(tmp_path: Path, arguments: list[str]) -> None:
    assert not modules_after(arguments, tmp_path) & {*HEAVY, "rich", "pydantic_settings"}


def test_the_configuration_imports_what_a_stage_declares_and_no_execution(tmp_path: Path) -> None:
    script = "import sys, llm_perf_opt.config.schema; print(*sys.modules, sep='\\n')"
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    found = set(finished.stdout.split())
    assert {"llm_perf_opt.stages.ncu", "llm_perf_opt.stages.nvml", "llm_perf_opt.config.pipeline"} <= found
    doing = {name for name in found if name.startswith("llm_perf_opt.") and name.endswith((".execute", ".child"))}
    assert not doing
    assert not found & {*HEAVY, "pyarrow", "llm_perf_opt.stages.timed", "llm_perf_opt.stages.wrapped"}
