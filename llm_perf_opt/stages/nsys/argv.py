"""Command lines of Nsight Systems, from the settings; nothing is run and nothing looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.artifacts.layout import NSYS_EXPORT, NSYS_OUTPUT, NSYS_REPORT
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.tools.nsys import keeps_environments
from llm_perf_opt.tools.options import Version, check

REGISTERED_ONLY_OFF = "NSYS_NVTX_PROFILER_REGISTER_ONLY=0"
"""Lets strings that were not registered, as `torch.cuda.nvtx` sends them, open the capture as well."""
DEFAULT_RANGE_END = "stop-shutdown"
"""What nsys does at the end of a capture range when it is not told."""


def profile_options(settings: Nsys) -> list[str]:
    """Options of `nsys profile` but for its output and `extra_args`.

    Without gating there is no NVTX trigger: neither `--capture-range=nvtx` nor what belongs to it is sent, and the
    whole run is captured. Other triggers stay.
    """
    options = [f"--trace={settings.trace}", f"--sample={settings.sample}"]
    if waits_for_trigger(settings):
        options.append(f"--capture-range={settings.capture_range}")
        if settings.capture_range == "nvtx":
            options += [f"--nvtx-capture={settings.nvtx_capture}", f"--env-var={REGISTERED_ONLY_OFF}"]
        if settings.capture_range_end is not None:
            options.append(f"--capture-range-end={settings.capture_range_end}")
    if settings.cuda_graph_trace is not None:
        options.append(f"--cuda-graph-trace={settings.cuda_graph_trace}")
    return options


def waits_for_trigger(settings: Nsys) -> bool:
    """Whether the capture starts at a trigger, so that one that never comes leaves no report."""
    if settings.capture_range == "nvtx":
        return settings.gating_nvtx
    return settings.capture_range != "none"


def trigger_words(settings: Nsys) -> str | None:
    """What opens the capture, for messages; None when it is open from the start."""
    if not waits_for_trigger(settings):
        return None
    words = {
        "nvtx": f'the NVTX range "{settings.nvtx_capture}"',
        "cudaProfilerApi": "cudaProfilerStart",
        "hotkey": "the hotkey",
    }
    return words[settings.capture_range]


def ends_workload(settings: Nsys) -> bool:
    """Whether nsys may end the workload at the end of a range."""
    return waits_for_trigger(settings) and "shutdown" in (settings.capture_range_end or DEFAULT_RANGE_END)


def profile_argv(
    nsys: str | Path,
    settings: Nsys,
    output_dir: Path,
    command: Sequence[str],
    version: Version | None = None,
    *,
    of_rank: bool = False,
) -> list[str]:
    """`nsys profile … COMMAND`, which leaves `run*.nsys-rep` in `output_dir`; `extra_args` come last.

    Args:
        of_rank: it is started on several ranks, each with a report of its own.
    """
    name = f"{NSYS_OUTPUT}.rank-%q{{RANK}}" if of_rank else NSYS_OUTPUT
    return [
        str(nsys),
        "profile",
        *profile_options(settings),
        "-o",
        str(output_dir / name),
        "--force-overwrite=true",
        *([] if keeps_environments(version) else ["--discard-environment=true"]),
        *settings.extra_args,
        *command,
    ]


def captured_ranks(settings: Nsys, world: int) -> tuple[int, ...]:
    """The ranks of a model on `world` that are captured.

    Raises:
        ConfigError: there is no such rank.
    """
    asked = settings.ranks
    ranks = range(world) if asked == "all" else (asked,) if isinstance(asked, int) else asked
    beyond = [rank for rank in ranks if rank >= world]
    if beyond:
        raise ConfigError(
            f"pipeline.nsys.ranks: there is no rank {beyond[0]} of {world}", f"name ranks from 0 to {world - 1}, or all"
        )
    return tuple(dict.fromkeys(ranks))


def expected_files(settings: Nsys) -> list[str]:
    """What the capture leaves in its directory, for the plan."""
    end = settings.capture_range_end or ""
    if waits_for_trigger(settings) and end.startswith("repeat"):
        return [
            f"{NSYS_OUTPUT}.1.nsys-rep, {NSYS_OUTPUT}.2.nsys-rep, … (one per range; of one range {NSYS_REPORT})",
            "a .sqlite of each",
        ]
    return [NSYS_REPORT, NSYS_EXPORT]


def notes(settings: Nsys, version: Version | None = None) -> list[str]:
    """What a reader of the plan should know about this capture."""
    found = check("nsys", "profile", [*profile_options(settings), "--force-overwrite=true"], version)
    found += [f"extra_args: {problem}" for problem in check("nsys", "profile", settings.extra_args, version)]
    if version is not None and keeps_environments(version):
        found.append(
            f"this release stores the environment of every process that you may read in {NSYS_REPORT} (from "
            f"{NSYS_EXPORT} they are removed): do not pass that file on"
        )
    if settings.capture_range == "nvtx" and not settings.gating_nvtx:
        found.append("gating_nvtx is false: the NVTX trigger is left out and the whole run is captured")
    if not waits_for_trigger(settings) and settings.capture_range_end is not None:
        found.append("capture_range_end is left out: it means something only with a capture range")
    if waits_for_trigger(settings) and settings.capture_range_end is None:
        found.append(
            "without capture_range_end nsys ends the session at the end of the first range and may end the workload "
            "with SIGTERM; capture_range_end: stop lets it finish"
        )
    if settings.capture_range == "hotkey":
        found.append("capture_range: hotkey works for graphics applications only; this workload opens no window")
    return found
