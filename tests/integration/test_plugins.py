"""Stages of third parties through the real command line: one that behaves, and every way that we know of not to.

Among the recorded cases, `llmperf_memory.py` is of the first kind (and its `CLASH` takes a built-in stage's name), and
`llmperf_exit.py` of the second: a stage that exits or returns nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli_process import llmperf, read_json
from tests.plugins import STAGE_SOURCE, write_distribution

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "llmperf-stage-example"
ALONE = ("--no-static", "--no-torch")
GROUP = "llmperf.stages"


def run(folder: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return llmperf(list(arguments), folder, PYTHONPATH=path)


def installed(folder: Path, source: str, **points: str) -> Path:
    """A distribution that offers stages: name → object."""
    return write_distribution(folder / "site", source, entry_points={GROUP: points})


def manifest(run_path: Path) -> Any:
    """`run.json`, its digests verified."""
    found = read_json(run_path / "run.json")
    for name, digest in found["artifacts"].items():
        assert hashlib.sha256((run_path / name).read_bytes()).hexdigest() == digest, name
    return found


def test_the_example_installs_runs_is_removed_and_its_run_is_reported_again(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    site, source = tmp_path / "site", shutil.copytree(EXAMPLE, tmp_path / "source")
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(source)], check=True)
    asked = ("run", *ALONE, "pipeline.plugins.activation_ranges.top=2", "infer.max_new_tokens=2", "--output", "run")
    finished = run(tmp_path, site, *asked)
    assert finished.returncode == 0, finished.stderr
    path = tmp_path / "run"
    assert len(read_json(path / "activation_ranges" / "ranges.json")["ranges"]) == 2
    assert read_json(path / "summary.json")["activation_ranges"]["ranges"][0]["largest"] > 0
    assert "## Activation ranges" in (path / "report.md").read_text()
    assert [
        (found["name"], found["distribution"], found["version"]) for found in read_json(path / "env.json")["extensions"]
    ] == [("activation_ranges", "llmperf-stage-example", "1.0")]
    shutil.rmtree(site)
    again = run(tmp_path, site, "report", "run")
    assert again.returncode == 0, again.stderr
    text = (path / "report.md").read_text()
    assert "What activation_ranges left was not read" in text and "no installed package" in text
    assert manifest(path)["stages"]["activation_ranges"]["status"] == "completed"


@pytest.mark.parametrize(
    ("overrides", "exit_code", "words"),
    [
        (["pipeline.plugins.thing.tpo=3"], 2, ["did you mean pipeline.plugins.thing.top?"]),
        (["pipeline.plugins.thing.top=0"], 2, ["pipeline.plugins.thing.top", "at least 1"]),
        (["pipeline.plugins.thing.top=many"], 2, ["pipeline.plugins.thing.top", "an integer"]),
        (["pipeline.plugins.thng={}"], 2, ["no installed package", "did you mean thing?"]),
        (["pipeline.plugins.thing={}"], 0, []),
        (["pipeline.plugins.thing.enable=false"], 0, []),
        (["pipeline.plugins.thing=null"], 0, []),
    ],
)
def test_settings_are_validated_when_a_plugin_is_named(
    tmp_path: Path, overrides: list[str], exit_code: int, words: list[str]
) -> None:
    site = installed(tmp_path, STAGE_SOURCE, thing="STAGE")
    (tmp_path / "my.yaml").write_text("experiment: plugins\n")
    finished = run(tmp_path, site, "config", "validate", "my.yaml", *overrides)
    assert finished.returncode == exit_code, finished.stderr
    assert all(word in finished.stderr for word in words), finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_plugin_runs_and_is_turned_off(tmp_path: Path) -> None:
    site = installed(tmp_path, STAGE_SOURCE, thing="STAGE")
    on = run(tmp_path, site, "run", *ALONE, "pipeline.plugins.thing.top=3", "--output", "on")
    assert on.returncode == 0, on.stderr
    assert (tmp_path / "on" / "thing" / "thing.txt").read_text() == "3"
    for number, off in enumerate(("pipeline.plugins.thing.enable=false", "pipeline.plugins.thing=null")):
        finished = run(tmp_path, site, "run", "--no-torch", off, "--output", f"off{number}")
        assert finished.returncode == 0, finished.stderr
        assert list(manifest(tmp_path / f"off{number}")["stages"]) == ["static_analysis"]


@pytest.mark.parametrize(
    ("source", "exit_code", "words"),
    [
        ("import no_such_package_here\n", 3, ["ModuleNotFoundError: No module named 'no_such_package_here'"]),
        ("raise RuntimeError('not today')\n", 3, ["RuntimeError: not today"]),
        ("import sys\nsys.exit(0)\n", 3, ["SystemExit: 0"]),
        ("STAGE = 3\n", 2, ["is no llm_perf_opt.registry.Component"]),
        ("x = 1\n", 3, ["AttributeError"]),
        (STAGE_SOURCE.replace("settings=Thing", "settings=dict"), 2, ["StageSettings"]),
    ],
)
@pytest.mark.parametrize("command", [("config", "validate", "my.yaml"), ("run", *ALONE)])
def test_what_cannot_be_loaded_is_named_with_its_distribution(
    tmp_path: Path, command: tuple[str, ...], source: str, exit_code: int, words: list[str]
) -> None:
    site = installed(tmp_path, source, thing="STAGE")
    (tmp_path / "my.yaml").write_text("experiment: plugins\n")
    finished = run(tmp_path, site, *command, "pipeline.plugins.thing={}")
    assert finished.returncode == exit_code, finished.stderr
    named = ["llmperf-thing 1.2"] if exit_code == 3 or "Component" in words[0] else []
    assert all(word in finished.stderr for word in [*words, *named, "pipeline.plugins.thing"]), finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "tmp").exists(), "nothing ran"
    untouched = run(tmp_path, site, "config", "validate", "my.yaml")
    assert untouched.returncode == 0, "a plug-in that is not named breaks nothing"


@pytest.mark.parametrize("name", ["torch_profiler", "static_analysis", "nvml"])
def test_a_plugin_cannot_take_the_name_of_a_built_in_one(tmp_path: Path, name: str) -> None:
    site = installed(tmp_path, STAGE_SOURCE, **{name: "STAGE"})
    finished = run(tmp_path, site, "run", *ALONE, f"pipeline.plugins.{name}={{}}", "--output", "run")
    assert finished.returncode == 2, finished.stderr
    assert "llmperf-thing 1.2 offers a stage of that name, which is a built-in one's" in finished.stderr
    assert not (tmp_path / "run").exists()


def test_two_distributions_with_one_name_are_refused(tmp_path: Path) -> None:
    site = installed(tmp_path, STAGE_SOURCE, thing="STAGE")
    write_distribution(
        site, STAGE_SOURCE, entry_points={GROUP: {"thing": "STAGE"}}, name="other-thing", module="other_thing"
    )
    finished = run(tmp_path, site, "run", *ALONE, "pipeline.plugins.thing={}")
    assert finished.returncode == 2
    assert "llmperf-thing 1.2 and other-thing 1.2 offer a stage of that name" in finished.stderr


MISBEHAVIOUR = {
    "exits with 0": ("    import sys\n    sys.exit(0)\n", "SystemExit"),
    "exits with words": ("    raise SystemExit('enough')\n", "SystemExit"),
    "returns nothing": ("    return None\n", "Outcome"),
    "returns a word": ("    return 'completed'\n", "Outcome"),
    "raises": ("    raise ValueError('oh')\n", "ValueError: oh"),
    "closes a generator": ("    raise GeneratorExit\n", "GeneratorExit"),
}


@pytest.mark.parametrize("how", MISBEHAVIOUR)
def test_a_stage_that_misbehaves_is_failed_and_the_run_ends_truthfully(tmp_path: Path, how: str) -> None:
    body, words = MISBEHAVIOUR[how]
    source = STAGE_SOURCE[: STAGE_SOURCE.index("def execute")] + f"def execute(context):\n{body}\n\n"
    source += "STAGE = Stage(settings=Thing, needs='nothing', execute=execute)\n"
    source += "def well(context):\n    return Outcome.completed()\n"
    source += "WELL = Stage(settings=Thing, needs='nothing', execute=well)\n"
    site = installed(tmp_path, source, thing="STAGE", well="WELL")
    asked = ("run", *ALONE, "pipeline.plugins.thing={}", "pipeline.plugins.well={}", "--output", "run")
    finished = run(tmp_path, site, *asked)
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    found = manifest(tmp_path / "run")
    assert found["status"] == "failed" and found["exit_code"] == 1
    assert found["stages"]["thing"]["status"] == "failed"
    assert words in found["stages"]["thing"]["reason"]
    assert found["stages"]["well"]["status"] == "completed", "the others go on"
    assert (tmp_path / "run" / "report.md").exists()


def test_a_section_that_cannot_be_written_costs_itself_alone(tmp_path: Path) -> None:
    source = STAGE_SOURCE + (
        "from llm_perf_opt.reports.section import ReportSection\n"
        "def section(facts):\n    raise KeyError('gone')\n"
        "SECTION = ReportSection(1, section)\n"
    )
    site = write_distribution(
        tmp_path / "site", source, entry_points={GROUP: {"thing": "STAGE"}, "llmperf.sections": {"thing": "SECTION"}}
    )
    finished = run(tmp_path, site, "run", *ALONE, "pipeline.plugins.thing={}", "--output", "run")
    text = (tmp_path / "run" / "report.md").read_text()
    assert "thing" in text and "KeyError" in text and "## Outcome" in text
    assert "KeyError" in (tmp_path / "run" / "llmperf.log").read_text()
    manifest(tmp_path / "run")
    assert finished.returncode in (0, 1)
