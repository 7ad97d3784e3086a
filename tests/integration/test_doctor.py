"""`llmperf doctor` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_perf_opt.hardware.doctor.finding import ask_child

pytestmark = pytest.mark.integration

COMMAND = """
import sys
import typer
from llm_perf_opt.cli.doctor import doctor
import llm_perf_opt.tools.discovery
from llm_perf_opt.errors import LlmperfError
# Discovery has its own tests; here the answer must be the same on every machine.
llm_perf_opt.tools.discovery.find_tool = lambda name: None
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(doctor)
try:
    app(standalone_mode=False)
except LlmperfError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
finally:
    heavy = [name for name in ("torch", "transformers", "numpy", "rich") if name in sys.modules]
    assert not heavy, heavy
"""


def doctor(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "60"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_json_names_every_check_and_asks_torch_in_a_child(tmp_path: Path) -> None:
    done = doctor("--json", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    findings = {found["name"]: found for found in json.loads(done.stdout)["findings"]}
    assert findings["python"]["status"] == "ok"
    assert findings["torch"]["status"] == "ok" and "built with" in findings["torch"]["detail"]
    assert all(found["status"] == "ok" or found["remedy"] for found in findings.values())
    assert list(tmp_path.iterdir()) == []


def test_what_is_required_and_missing_is_exit_code_3(tmp_path: Path) -> None:
    present = doctor("--require", "python,torch", directory=tmp_path)
    assert present.returncode == 0, present.stderr
    assert max(len(line) for line in present.stdout.splitlines() if len(line.split()) > 1) <= 60
    absent = doctor("--require", "python,ncu", directory=tmp_path)
    assert absent.returncode == 3
    assert "ncu" in absent.stderr and "remedy" in absent.stderr and "python (" not in absent.stderr


def test_an_unknown_requirement_is_a_usage_error(tmp_path: Path) -> None:
    unknown = doctor("--require", "cuda,warp-drive", directory=tmp_path)
    assert unknown.returncode == 2 and "warp-drive" in unknown.stderr and unknown.stdout == ""


def test_a_child_that_hangs_is_stopped() -> None:
    answer = ask_child([sys.executable, "-c", "import time; time.sleep(600)"], 0.5)
    assert answer.code == 124 and "0.5 s" in answer.stderr


def test_a_child_that_does_not_exist_is_an_answer() -> None:
    assert ask_child(["/nowhere/at/all"], 1).code == 127


def test_host_facts_import_nothing_heavy() -> None:
    code = (
        "import sys; from llm_perf_opt.hardware.host import environment_record; environment_record();"
        "import llm_perf_opt.hardware.sampler, llm_perf_opt.redact;"
        "print([m for m in ('torch', 'transformers', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
