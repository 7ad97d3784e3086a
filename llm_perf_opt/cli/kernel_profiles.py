"""One ncu run for each kernel of a list, and what they say together."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from llm_perf_opt import run
from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.artifacts.claim import claim_directory, claim_file, new_path
from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.artifacts.layout import RUN_LOG
from llm_perf_opt.artifacts.run_directory import now
from llm_perf_opt.cli import console
from llm_perf_opt.cli.kernel_analysis import JSON, MARKDOWN, analyze_paths, print_analysis, write_analysis
from llm_perf_opt.cli.progress import Reporter
from llm_perf_opt.cli.running import command_line, only, plan_dict, plan_text, shown_path
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.plan.model import Plan
from llm_perf_opt.records.kernels import TopKernel
from llm_perf_opt.redact import redact_argv

_CLI = "pipeline.ncu.ncu_cli"
# Weaker than what the user writes: the kernel is chosen by name and number, so no range need be open.
_DEFAULTS = ("pipeline.ncu.gating_nvtx=false", f"{_CLI}.replay_mode=kernel", f"{_CLI}.launch_count=1")
_OF_THE_FILE = (f"{_CLI}.kernel_name=", f"{_CLI}.launch_skip=")


@dataclass(frozen=True)
class Request:
    """What `kernels profile` was asked for."""

    kernels: Sequence[TopKernel]
    workload: Mapping[str, object]
    """The option that makes the command the workload."""
    overrides: Sequence[str]
    config_dirs: list[Path] | None
    output: Path | None


def _plans(request: Request, folder: Path) -> Iterator[tuple[TopKernel, Plan]]:
    """Everything that can be refused is, before the first run.

    Raises:
        ConfigError: an override sets what is in the file, or is wrong.
    """
    digits = max(2, len(str(len(request.kernels))))
    config = _config(request, request.kernels[0])
    for number, kernel in enumerate(request.kernels, 1):
        path = folder / f"{number:0{digits}}-{_folder_name(kernel.name)}"
        yield kernel, run.plan_new(_with_kernel(config, kernel), path)


def _folder(request: Request) -> tuple[Path, bool]:
    """Where the runs go, and whether another number does as well.

    Raises:
        ConfigError: an override sets what is in the file, or is wrong; or the folder is in use.
    """
    for text in request.overrides:
        if text.startswith(_OF_THE_FILE):
            key = text.split("=", 1)[0]
            raise ConfigError(f"{key} comes from the file of kernels", "edit it there")
        if "=" not in text:
            raise ConfigError(f"{text!r} is no override", "write key=value; a command goes after --")
    settings = _config(request, request.kernels[0]).artifacts
    numbered = request.output is None and settings.run_id is None
    folder = (request.output or new_path(Path(settings.runs_dir), settings.run_id)).absolute()
    if not numbered:
        _refuse_used(folder)
    return folder, numbered


def _claim(folder: Path, *, numbered: bool) -> Path:
    """Take the folder, so that no other process writes into it; its path.

    Raises:
        ConfigError: another process was faster.
    """
    if numbered:
        folder = claim_directory(folder)
    else:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    try:
        claim_file(folder / RUN_LOG, f"{now()} {shlex.join(redact_argv(command_line()))}\n")
    except FileExistsError:
        raise ConfigError(f"{folder} is not empty", "choose another --output") from None
    return folder


def _config(request: Request, kernel: TopKernel) -> Config:
    chosen = {f"{_CLI}.{name}": value for name, value in _choice(kernel).items()}
    options = {**only("ncu"), **request.workload, **chosen}
    overrides = (*_DEFAULTS, *request.overrides)
    return load_config(None, overrides, options=options, config_dirs=tuple(request.config_dirs or ())).config


def _with_kernel(config: Config, kernel: TopKernel) -> Config:
    """The configuration of one kernel, made from that of another: reading all files again takes milliseconds."""
    ncu: Any = config.pipeline.section("ncu")
    cli = type(ncu.ncu_cli).model_validate({**dict(ncu.ncu_cli), **_choice(kernel)})
    pipeline = config.pipeline.model_copy(update={"ncu": ncu.model_copy(update={"ncu_cli": cli})})
    return config.model_copy(update={"pipeline": pipeline})


def _choice(kernel: TopKernel) -> dict[str, object]:
    """The settings of ncu that choose one launch of a kernel."""
    return {"kernel_name": kernel.kernel_name, "launch_skip": kernel.launch_skip}


def _refuse_used(folder: Path) -> None:
    """Raise ConfigError where a folder holds anything: its runs, or somebody's files."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = "is not empty" if folder.is_dir() else "is a file, not a directory"
        raise ConfigError(f"{folder} {kind}", "choose another --output")


def _folder_name(kernel: str) -> str:
    """What a kernel is called in the name of a folder."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", short_name(kernel)).strip("_.-") or "kernel"


def print_plans(request: Request, *, as_json: bool) -> None:
    """What would run, kernel by kernel."""
    plans = list(_plans(request, _folder(request)[0]))
    if as_json:
        typer.echo(json.dumps([{"kernel": kernel.name, **plan_dict(plan)} for kernel, plan in plans], indent=2))
        return
    for number, (kernel, plan) in enumerate(plans, 1):
        typer.echo(f"kernel {number} of {len(plans)}: {kernel.name}\n{plan_text(plan)}\n")


def profile_kernels(request: Request, *, as_json: bool) -> int:
    """Run every profile, one that fails not stopping the others, and sum up what is there; the exit code.

    An interrupt is raised again once what was profiled by then is summed up.
    """
    folder, numbered = _folder(request)
    plans = list(_plans(request, folder))
    folder = _claim(folder, numbered=numbered)
    codes: list[int] = []
    try:
        for number, (kernel, plan) in enumerate(plans, 1):
            console.note(f"kernel {number} of {len(plans)}: {kernel.name}")
            place = replace(plan, run_path=folder / plan.run_path.name)
            with Reporter() as reporter:
                codes.append(run.start(place, command_line(), reporter).manifest.exit_code or 0)
    finally:
        _sum_up(folder, as_json=as_json)
    return max(codes, default=0)


def _sum_up(folder: Path, *, as_json: bool) -> None:
    if not folder.is_dir():
        return
    analysis, _ = analyze_paths([folder])
    write_analysis(analysis, folder)
    if as_json:
        print_analysis(analysis, as_json=True)
    else:
        shown = shown_path(folder)
        done = len(analysis.launches)
        typer.echo(f"{done:,} profiled launch{'es' if done != 1 else ''}: {shown / MARKDOWN}, {shown / JSON}")
