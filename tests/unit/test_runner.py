"""A run is always ended: interrupts, defects in reports, defects beside the stages."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest
from llm_perf_opt.cli.main import main
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.reports.document import Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.sections import outcome as outcome_section
from llm_perf_opt.run import plan_resumption
from llm_perf_opt.runner import StageAction, ending, run_stages
from llm_perf_opt.stages.base import Progress
from tests.unit.importing.test_import import RAW, Quiet, made


class Noted(Quiet):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def note(self, message: str) -> None: ...

    def problem(self, message: str) -> None:
        self.problems.append(message)


def new(path: Path, **stages: StageAction) -> tuple[RunDirectory, dict[str, StageAction]]:
    return RunDirectory.create(path, argv=["llmperf"], stages=list(stages)), stages


def fine(_progress: Progress) -> Outcome:
    return Outcome.completed()


def interrupted(_progress: Progress) -> Outcome:
    raise KeyboardInterrupt


def test_being_interrupted_again_costs_the_report_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llm_perf_opt.reports.write.write_reports", again)
    directory, stages = new(tmp_path / "run", a=fine, b=interrupted, c=fine)
    with pytest.raises(KeyboardInterrupt):
        run_stages(directory, stages, Noted())
    manifest = read_manifest(tmp_path / "run")
    assert (manifest.status, manifest.exit_code) == ("interrupted", 130)
    assert {name: entry.status for name, entry in manifest.stages.items()} == {
        "a": "completed",
        "b": "interrupted",
        "c": "pending",
    }
    assert "interrupted again" in manifest.problems[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_interrupts_the_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def finish(directory: RunDirectory, *, interrupted: bool) -> None:
        os.kill(os.getpid(), number)
        close(directory, interrupted=interrupted)

    close = RunDirectory.close
    monkeypatch.setattr(RunDirectory, "close", finish)
    directory, stages = new(tmp_path / "run", a=fine)
    run_stages(directory, stages, Noted())
    assert read_manifest(tmp_path / "run").stages["a"].status == "completed"
    assert signal.getsignal(number) is not signal.SIG_IGN


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(0), GeneratorExit()])
def test_a_defect_beside_the_stages_ends_the_run_as_failed(tmp_path: Path, error: BaseException) -> None:
    class Broken(Noted):
        def stage_ends(self, name: str, outcome: Outcome) -> None:
            raise error

    directory, stages = new(tmp_path / "run", a=fine)
    listener = Broken()
    ended = run_stages(directory, stages, listener)
    assert (ended.manifest.status, ended.manifest.exit_code) == ("failed", 1)
    assert ended.manifest == read_manifest(tmp_path / "run")
    assert "a defect of llmperf" in listener.problems[0]


def broken_section(_facts: RunFacts) -> Section:
    raise ZeroDivisionError("division by zero")


def ill_made_section(_facts: RunFacts) -> Section:
    return Section("Outcome", (Table(("a",), ((1,),)),))  # type: ignore[arg-type]


@pytest.mark.parametrize("section", [broken_section, ill_made_section])
def test_a_defect_in_a_section_costs_that_section_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    section: Callable[[RunFacts], Section],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome_section, "SECTION", ReportSection(10, section))
    made(tmp_path, "raw.csv", RAW)
    for arguments in (["import", "raw.csv", "--output", "run"], ["report", "run"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert "the section outcome of the report could not be written: a defect" in capsys.readouterr().err
    page = (tmp_path / "run" / "report.md").read_text()
    assert "## Outcome\n\nthe section outcome of the report could not be written: a defect" in page
    assert "## Environment" in page
    assert (tmp_path / "run" / "llmperf.log").read_text().count("Traceback") == 2
    manifest = read_manifest(tmp_path / "run")
    assert (manifest.status, len(manifest.problems)) == ("completed", 1)
    assert {"report.md", "report.html", "summary.json"} <= set(manifest.artifacts)


def test_a_run_is_not_gone_on_with_for_a_stage_that_it_never_had(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", argv=["llmperf"], stages=["static_analysis"])
    (directory.path / "config.yaml").write_text(to_yaml(load_config(None).config))
    directory.close()
    with pytest.raises(MissingError, match=r"config\.yaml asks for torch_profiler, which is not in it"):
        plan_resumption(directory.path)


def test_a_run_that_was_killed_before_its_configuration_stood_there_says_so(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", argv=["llmperf"], stages=["static_analysis"])
    with pytest.raises(MissingError, match="ended before it began"):
        plan_resumption(directory.path)


def test_what_cannot_be_written_beside_any_stage_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quiet, "problem", lambda *_: None)
    reported: list[Path] = []

    def write_reports(path: Path, _manifest: object) -> SimpleNamespace:
        reported.append(path)
        return SimpleNamespace(defects=())

    monkeypatch.setattr("llm_perf_opt.reports.write.write_reports", write_reports)
    directory = RunDirectory.create(tmp_path / "run", argv=["llmperf"], stages=["a"])
    with ending(directory, Quiet()):
        directory.begin("a")
        directory.end("a", Outcome.completed())
        raise StageError("cannot write launches.json: No space left on device", "free space")
    manifest = read_manifest(directory.path)
    assert (manifest.status, manifest.exit_code) == ("failed", 1)
    assert [problem.partition("\n")[0] for problem in manifest.problems] == [
        "cannot write launches.json: No space left on device"
    ]
    assert "defect" not in (directory.path / "llmperf.log").read_text()
    assert reported == [directory.path], "what was measured is reported"
