"""The command line's edge: exit codes, where errors go, lazy commands, help, unknown words."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli import main as cli
from llm_perf_opt.cli.app import COMMANDS
from llm_perf_opt.cli.lazy import Lazy, TailCommand, tail
from llm_perf_opt.cli.options import split_arguments
from llm_perf_opt.cli.progress import Reporter
from llm_perf_opt.errors import GateError, InconclusiveError, LlmperfError, MissingError, StageError
from tests.unit.cli.test_spec import SYNOPSIS

HELP = Path(__file__).with_name("snapshots") / "help.txt"


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    code = caught.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("LLMPERF_DEBUG", raising=False)
    console.set_level()


def probe(error: BaseException | None = None, code: int | None = None) -> typer.Typer:
    """An app whose one command fails, or returns a code."""
    app = typer.Typer()

    @app.command()
    def command() -> int | None:
        if error is not None:
            raise error
        return code

    return app


def with_probe(monkeypatch: pytest.MonkeyPatch, app: typer.Typer) -> None:
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "probe_app", app, raising=False)
    monkeypatch.setitem(COMMANDS, "probe", Lazy(f"{__name__}:probe_app", "A command of the tests."))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StageError("a stage failed", "look"), 1),
        (LlmperfError("wrong", "look"), 1),
        (MissingError("no nsys", "install it"), 3),
        (GateError("slower", "look"), 4),
        (InconclusiveError("too few", "repeat"), 5),
    ],
)
def test_errors_are_printed_once_with_their_code(
    error: LlmperfError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_probe(monkeypatch, probe(error))
    assert run("probe") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: {error.message}\n  remedy: {error.remedy}\n"


def test_unforeseen_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_probe(monkeypatch, probe(ZeroDivisionError("division\nby zero")))
    assert run("probe") == 1
    err = capsys.readouterr().err
    assert err == (
        "error: ZeroDivisionError: division by zero\n  remedy: run again with --debug to see where this comes from\n"
    )


@pytest.mark.parametrize("argv", [("--debug", "probe"), ("probe", "--debug")])
def test_debug_shows_the_traceback(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_probe(monkeypatch, probe(ZeroDivisionError("x")))
    assert run(*argv) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_probe(monkeypatch, probe(MissingError("x")))
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("LLMPERF_DEBUG", value)
        assert run("probe") == 3
        assert ("Traceback" in capsys.readouterr().err) is shown


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_probe(monkeypatch, probe(KeyboardInterrupt()))
    assert run("probe") == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("lost", [False, True])
def test_signals_are_interrupts(
    number: signal.Signals, lost: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt as error:
            if lost:  # as a library does in which it is raised
                raise ValueError("cannot be built") from error
            raise

    with_probe(monkeypatch, app)
    before = signal.getsignal(number)
    assert run("probe") == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    assert signal.getsignal(number) == before


def test_an_interrupt_that_was_swallowed_is_one_at_the_next_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as a destructor does
            os.kill(os.getpid(), signal.SIGTERM)
        Reporter().stage_begins("next")

    with_probe(monkeypatch, app)
    assert run("probe") == 130


def test_what_nohup_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command()(lambda: os.kill(os.getpid(), signal.SIGHUP))
    with_probe(monkeypatch, app)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("probe") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_may_return_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (0, 1, 4):
        with_probe(monkeypatch, probe(code=code))
        assert run("probe") == code


# Words nobody knows


def test_unknown_command_answers_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("confg") == 2
    assert "did you mean config?" in capsys.readouterr().err
    assert run("config", "validat") == 2
    assert "did you mean validate?" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--orgins", "--zzz", "--o"])
def test_unknown_option_answers_with_the_nearest(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "show", option) == 2
    err = capsys.readouterr().err
    assert f"no such option: {option}" in err
    assert "did you mean --" in err
    assert "llmperf config show --help" in err


def test_missing_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "migrate") == 2
    assert "remedy" in capsys.readouterr().err


# Help


def test_help_lists_every_command_without_importing_any(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "ghost", Lazy("no_such_module:app", "Is not there."))
    assert run("--help") == 0
    out = capsys.readouterr().out
    for name, lazy in COMMANDS.items():
        assert name in out
        assert lazy.help in out


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "Commands:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("llmperf ")


@pytest.mark.parametrize("line", SYNOPSIS)
def test_the_help_of_each_command_has_an_example(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*line.split(), "--help") == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2] or pytest.fail("no examples")
    assert f"  llmperf {line}" in examples


def test_help_is_that_of_the_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed is part of the product: a change of an option shows here."""
    pages = []
    for line in ("", *COMMANDS, *(line for line in SYNOPSIS if " " in line)):
        assert run(*line.split(), "--help") == 0
        pages.append(capsys.readouterr().out)
    found = "\n".join(pages)
    if "UPDATE_SNAPSHOTS" in os.environ:
        HELP.write_text(found, encoding="utf-8")
    assert found == HELP.read_text(encoding="utf-8")


def test_targets_exist() -> None:
    for lazy in COMMANDS.values():
        module, _, name = lazy.target.partition(":")
        assert hasattr(importlib.import_module(module), name)


def test_options_are_grouped_by_panel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def command(
        a: bool = typer.Option(False, "--aa", rich_help_panel="Stages", help="First."),
        b: bool = typer.Option(False, "--bb", help="Second."),
    ) -> None: ...

    with_probe(monkeypatch, app)
    assert run("probe", "--help") == 0
    out = capsys.readouterr().out
    assert out.index("Stages:") < out.index("--aa") < out.index("Options:") < out.index("--bb")


# Arguments


@pytest.mark.parametrize(
    ("arguments", "config", "overrides"),
    [
        ((), None, ()),
        (("my.yaml",), "my.yaml", ()),
        (("a=1", "my.yaml", "b=2"), "my.yaml", ("a=1", "b=2")),
        (("a=1",), None, ("a=1",)),
        (("my.yaml", "other.yaml"), "my.yaml", ("other.yaml",)),
    ],
)
def test_the_first_argument_without_an_equals_sign_is_the_file(
    arguments: tuple[str, ...], config: str | None, overrides: tuple[str, ...]
) -> None:
    assert split_arguments(arguments) == (Path(config) if config else None, overrides)


def test_a_second_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text("", encoding="utf-8")
    assert run("config", "validate", "my.yaml", "other.yaml") == 2
    assert "override other.yaml: not an override" in capsys.readouterr().err


def test_global_flags_may_stand_anywhere_before_the_dashes() -> None:
    assert cli.global_flags_first(["run", "-q", "x", "--", "cmd", "-v"]) == ["-q", "run", "x", "--", "cmd", "-v"]


def test_another_command_line_after_the_dashes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command(cls=TailCommand)
    def command(context: typer.Context, words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        print(json.dumps([words, tail(context)]))

    with_probe(monkeypatch, app)
    assert run("probe", "a.yaml", "--", "python", "x.py", "--flag", "--", "y") == 0
    assert json.loads(capsys.readouterr().out) == [["a.yaml"], ["python", "x.py", "--flag", "--", "y"]]


# `config`


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "validate") == 0
    assert capsys.readouterr().out == "valid\n"
    (tmp_path / "my.yaml").write_text("infer: {beams: 2}\n", encoding="utf-8")
    assert run("config", "validate", "my.yaml") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: my.yaml:1:9: infer.beams: unknown key\n")
    assert run("config", "validate", "none.yaml") == 3


def test_validate_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "validate", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "problems": []}
    (tmp_path / "my.yaml").write_text("infer: {beams: 2}\n", encoding="utf-8")
    assert run("config", "validate", "my.yaml", "--json") == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["source"], problem["line"], problem["path"]) == ("my.yaml", 1, "infer.beams")


def test_an_old_file_is_sent_to_migrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text("run: {repeats: 2}\n", encoding="utf-8")
    assert run("config", "validate", "my.yaml") == 2
    assert "`llmperf config migrate my.yaml` translates it" in capsys.readouterr().err


def test_notes_go_to_stderr_and_quiet_drops_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text("outputs: {save_predictions: true}\n", encoding="utf-8")
    assert run("config", "validate", "my.yaml") == 0
    out, err = capsys.readouterr()
    assert (out, err[:5]) == ("valid\n", "INFO:")
    assert run("config", "validate", "my.yaml", "--quiet") == 0
    assert capsys.readouterr() == ("valid\n", "")


def test_init_does_not_replace_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "init", "my.yaml", "--model", "causal_lm", "--stages", "torch,nsys") == 0
    assert run("config", "validate", "my.yaml") == 0
    text = (tmp_path / "my.yaml").read_text(encoding="utf-8")
    assert run("config", "init", "my.yaml") == 2
    assert (tmp_path / "my.yaml").read_text(encoding="utf-8") == text
    assert run("config", "init", "none/my.yaml") == 2
    assert run("config", "init", "--model", "causal") == 2
    assert "did you mean causal_lm?" in capsys.readouterr().err
    assert run("config", "init", "--stages", "nsyss") == 2
    assert "did you mean nsys?" in capsys.readouterr().err


def test_migrate_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("run: {repeats: 5}\n", encoding="utf-8")
    assert run("config", "migrate", "old.yaml") == 0
    out, err = capsys.readouterr()
    assert out == "measure:\n  repeats: 5\n"
    assert "run.repeats → measure.repeats" in err
    assert file.read_text(encoding="utf-8") == "run: {repeats: 5}\n"
    assert run("config", "migrate", "old.yaml", "--write") == 0
    assert capsys.readouterr().out == ""
    assert file.read_text(encoding="utf-8") == "measure:\n  repeats: 5\n"
    assert (tmp_path / "old.yaml.bak").read_text(encoding="utf-8") == "run: {repeats: 5}\n"
    assert run("config", "migrate", "none.yaml") == 3


def test_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "presets") == 0
    out = capsys.readouterr().out
    assert "profiling/ncu@pipeline.ncu\n" in out
    assert "  ncu.high  (configs/profiling/ncu/ncu.high.yaml)" in out
    assert run("config", "presets", "dataset/sampling", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["option"] for row in rows] == ["default", "random"]
    assert rows[1]["settings"]["randomize"] is True
    assert run("config", "presets", "datset") == 2
    assert "did you mean dataset?" in capsys.readouterr().err


def test_own_presets_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own" / "dataset").mkdir(parents=True)
    (tmp_path / "own" / "dataset" / "mine.yaml").write_text("# My pages.\nroot: /pages\n", encoding="utf-8")
    assert run("config", "presets", "dataset", "--config-dir", "own") == 0
    assert "mine  (own/dataset/mine.yaml)" in capsys.readouterr().out
    assert run("config", "validate", "--config-dir", "own", "dataset=mine") == 0


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "llmperf configuration"
