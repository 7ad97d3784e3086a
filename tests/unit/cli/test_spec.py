"""The specification of the command line as a check list: every command, with the options it names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import pytest
import typer

from llm_perf_opt.cli import main as cli
from llm_perf_opt.cli.app import COMMANDS

ONE_STAGE = (
    *("[CONFIG|MODEL] [OVERRIDES]...", "--output", "--dry-run", "--json", "--config-dir"),
    *("--prompt", "--prompt-tokens", "--image", "--batch", "--max-new-tokens"),
)
SYNOPSIS: dict[str, tuple[str, ...]] = {
    "run": (*ONE_STAGE, "--no-static", "--no-torch", "--nsys", "--ncu", "--resume"),
    "torch": ONE_STAGE,
    "infer": ONE_STAGE,
    "nsys": (*ONE_STAGE, "--capture-range", "--nvtx-capture", "--capture-range-end", "[-- COMMAND...]"),
    "ncu": (*ONE_STAGE, "[-- COMMAND...]"),
    "sweep": (
        *("[CONFIG|MODEL]... [KEY=V1,V2...]...", "--zip", "--launches", "--output", "--retry-failed", "--dry-run"),
        *("--json", "--on", "--jobs", "--gpus-each", "--partition", "--time", "--prefix", "--config-dir"),
    ),
    "static": ("[MODEL]", "--output", "--json"),
    "config validate": ("[CONFIG|MODEL] [OVERRIDES]...",),
    "config show": ("--origins", "--json"),
    "config schema": (),
    "config init": (),
    "config migrate": ("FILE", "--write"),
    "config presets": (),
    "kernels top": ("RUN|SQLITE|CSV", "--limit", "--device", "--phase", "--range", "--rank", "--output", "--json"),
    "kernels profile": ("TOP.yaml", "[-- COMMAND...]"),
    "kernels analyze": ("PATH...", "--output", "--gpu"),
    "import": ("FILE...", "--output", "--gpu", "--range", "--jobs", "--resume"),
    "report": ("RUN", "--format", "--output"),
    "compare": ("A", "B", "--fail-if", "--within-launch", "--require-same-output", "--json"),
    "ab": (
        *("[A [B]] [OVERRIDES]...", "--set", "--prefix-a", "--prefix-b", "--time-budget", "--fail-if", "--output"),
        *("--require-same-output", "--resume", "--dry-run", "--json", "--config-dir"),
    ),
    "trend": ("DIR|RUNS...", "--figure", "--tolerance", "--limit", "--output", "--json"),
    "runs": ("[DIR]", "--limit", "--json"),
    "doctor": ("--require", "--quiet-machine", "--json"),
}
GLOBAL = ("--quiet", "--verbose", "--debug", "--version", "--install-completion", "--show-completion")


def help_of(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*line.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("line", SYNOPSIS)
def test_the_command_and_its_options(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(help_of(line, capsys).split())
    for name in SYNOPSIS[line]:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words), name


@pytest.mark.parametrize("option", GLOBAL)
def test_the_options_of_every_command(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert option in help_of("", capsys)


def command_lines() -> Iterator[str]:
    """Every command as it is typed, those of a group behind their group."""
    for name, lazy in COMMANDS.items():
        module, _, attribute = lazy.target.partition(":")
        app: typer.Typer = getattr(importlib.import_module(module), attribute)
        inner = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback is not None]
        yield from (f"{name} {word}" for word in inner) if len(inner) > 1 else (name,)


def test_there_is_no_other_command() -> None:
    assert sorted(command_lines()) == sorted(SYNOPSIS)
