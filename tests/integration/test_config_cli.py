"""`llmperf config` as a process: what it imports, where its output goes, what happens to the pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[2]


def llmperf(*argv: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from llm_perf_opt.cli.main import main; main()", *argv]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LLMPERF_")}
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **(env or {})}, cwd=cwd, timeout=120)


def imported(*argv: str, env: dict[str, str] | None = None) -> set[str]:
    """Modules that a command line imports."""
    code = (
        "import sys\nfrom llm_perf_opt.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LLMPERF_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, env={**clean, **(env or {})}, timeout=120
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


HEAVY = {"torch", "transformers", "numpy", "rich", "pydantic_settings"}


@pytest.mark.parametrize(
    "argv", [("--help",), ("config", "validate"), ("config", "validate", "--help"), ("config", "show", "--origins")]
)
def test_nothing_heavy_is_imported(argv: tuple[str, ...]) -> None:
    assert not imported(*argv) & HEAVY


def test_help_imports_no_command() -> None:
    found = imported("--help")
    assert "llm_perf_opt.cli.config" not in found
    assert "llm_perf_opt.config.schema" not in found
    assert "yaml" not in found


def test_validating_imports_nothing_that_only_errors_need() -> None:
    found = imported("config", "validate")
    for name in ("explain", "remedies", "describe", "legacy", "migrate", "environment"):
        assert f"llm_perf_opt.config.{name}" not in found


def test_settings_variables_bring_pydantic_settings_and_switches_do_not() -> None:
    assert "pydantic_settings" in imported("config", "validate", env={"LLMPERF_DEVICE": "cpu"})
    assert "pydantic_settings" not in imported("config", "validate", env={"LLMPERF_NSYS": "/x", "LLMPERF_DEBUG": "0"})


def test_output_goes_where_it_belongs(tmp_path: Path) -> None:
    good = llmperf("config", "validate", cwd=tmp_path)
    assert (good.returncode, good.stdout, good.stderr) == (0, "valid\n", "")
    bad = llmperf("config", "validate", "infer.beams=2", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "\033" not in bad.stderr
    missing = llmperf("config", "validate", "none.yaml", cwd=tmp_path)
    assert missing.returncode == 3
    assert not list(tmp_path.iterdir())


def test_what_is_shown_can_be_validated(tmp_path: Path) -> None:
    shown = llmperf("config", "show", cwd=tmp_path).stdout
    (tmp_path / "all.yaml").write_text(shown, encoding="utf-8")
    assert llmperf("config", "validate", "all.yaml", cwd=tmp_path).returncode == 0
    assert llmperf("config", "show", "all.yaml", cwd=tmp_path).stdout == shown


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -c 'from llm_perf_opt.cli.main import main; main()' config show | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    env = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "_LLMPERF_COMPLETE": f"source_{shell}"}
    done = llmperf(env=env)
    assert done.returncode == 0
    assert "llmperf" in done.stdout


def test_completion_in_bash() -> None:
    words = ["llmperf", "config", "validate", "profiling/nsys", "@", "pipeline.nsys", "=", "nsys.d"]
    env = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": "7", "_LLMPERF_COMPLETE": "complete_bash"}
    assert llmperf(env=env).stdout.split() == ["nsys.decode", "nsys.default"]


def test_the_wheel_holds_every_preset(tmp_path: Path) -> None:
    done = subprocess.run(
        ["uv", "build", "--wheel", "--offline", "--out-dir", str(tmp_path), str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode != 0:
        pytest.skip(f"the build back end is not cached: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = REPOSITORY / "configs"
    wanted = {f"llm_perf_opt/configs/{path.relative_to(shipped).as_posix()}" for path in shipped.rglob("*.yaml")}
    assert wanted <= names


@pytest.mark.parametrize("write", [False, True])
def test_what_is_not_carried_over_ends_with_1(tmp_path: Path, write: bool) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("device: cpu\nrun:\n  mode: deep\n  repeats: 2\n", encoding="utf-8")
    done = llmperf("config", "migrate", "old.yaml", *(["--write"] if write else []), cwd=tmp_path)
    assert done.returncode == 1
    assert "old.yaml:3: run.mode: deep: not carried over: the stages that are enabled say what runs" in done.stderr
    assert "run.repeats → measure.repeats" in done.stderr
    new = file.read_text(encoding="utf-8") if write else done.stdout
    assert new == "device: cpu\n\nmeasure:\n  repeats: 2\n"
    assert (tmp_path / "old.yaml.bak").exists() == write
    (tmp_path / "new.yaml").write_text(new, encoding="utf-8")
    again = llmperf("config", "migrate", "new.yaml", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, new, "nothing to migrate\n")
