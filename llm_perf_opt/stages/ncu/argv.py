"""Command lines of Nsight Compute, from the settings; nothing is run and nothing looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.artifacts.layout import NCU_OUTPUT
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.stages.ncu.settings import Ncu
from llm_perf_opt.tools.nvtx import TranslatedFilter, translate_nvtx_include
from llm_perf_opt.tools.options import Version, check, refused, used_options


def filters(settings: Ncu) -> list[TranslatedFilter]:
    """The NVTX filters that are sent; none without gating or without an include."""
    return translate_nvtx_include(settings.ncu_cli.nvtx.include) if settings.gating_nvtx else []


ONE_LAUNCH = frozenset({"kernel-id", "kernel-name", "launch-count", "launch-skip", "launch-skip-before-match"})
"""Options that choose among launches. With ranges they would count or name something else."""


def choose_replay(settings: Ncu, *, own: bool) -> tuple[Ncu, str | None]:
    """The settings with a replay mode that ncu knows in place of `auto`, and why; None where it was written down.

    A range of the model is profiled as a whole, by running the workload again for each pass (app-range): thousands of
    launches are not replayed one by one, and none of them has to be replayable. That needs ranges, and a workload that
    does the same every time, which only our own promises. Everything else is kernel replay.

    Args:
        own: the workload is llmperf's own.
    """
    cli = settings.ncu_cli
    if cli.replay_mode != "auto":
        return settings, None
    why_not = _why_not_ranges(settings, own=own)
    if why_not is None:
        mode, why = "app-range", "nvtx.include names ranges of llmperf's own workload, and each is profiled as a whole"
    else:
        mode, why = "kernel", why_not
    return settings.model_copy(update={"ncu_cli": cli.model_copy(update={"replay_mode": mode})}), why


def _why_not_ranges(settings: Ncu, *, own: bool) -> str | None:
    cli = settings.ncu_cli
    if not own:
        return "a command of one's own need not do the same in every run"
    if cli.nvtx.include is not None and not settings.gating_nvtx:
        return "gating_nvtx is false, so no range is sent"
    if not filters(settings):
        return "nvtx.include names no range"
    keys = {"kernel_name": cli.kernel_name, "launch_skip": cli.launch_skip, "launch_count": cli.launch_count}
    chosen = [key for key, value in keys.items() if value is not None]
    if chosen:
        return f"{chosen[0]} chooses among launches"
    for used in used_options("ncu", "", cli.extra_args):
        if used.option is not None and used.option.name in ONE_LAUNCH:
            return f"--{used.option.name} in extra_args chooses among launches"
    no = refused("app-range", cli.extra_args)
    return f"ncu refuses {no[0]} in extra_args with ranges" if no else None


def profile_options(
    settings: Ncu,
    *,
    metrics: Sequence[str] | None = None,
    sections: Sequence[str] | None = None,
    include: Sequence[TranslatedFilter] | None = None,
    launch_skip: int | None = None,
    launch_count: int | None = None,
    from_start: bool = True,
) -> list[str]:
    """Options of `ncu` but for its output and `extra_args`.

    Args:
        settings: with a replay mode that `choose_replay` has chosen.
        metrics, sections: instead of those of the settings, once unknown names were dropped; None takes the settings'.
        include: filters instead of those of the settings, to profile one region of several.
        launch_skip, launch_count: used where the settings leave them open.
        from_start: False profiles only between cudaProfilerStart and cudaProfilerStop. Range replay refuses the
            option, since the same calls delimit its ranges.
    """
    cli = settings.ncu_cli
    assert cli.replay_mode != "auto", "choose_replay comes first"
    options = ["--target-processes", cli.target_processes, "--replay-mode", cli.replay_mode]
    nvtx = filters(settings) if include is None else include
    if nvtx:
        options.append("--nvtx")
    for item in nvtx:
        options += ["--nvtx-include", item.sent]
    if not from_start and not refused(cli.replay_mode, ["--profile-from-start", "off"]):
        options += ["--profile-from-start", "off"]
    if cli.set is not None:
        options += ["--set", cli.set]
    for section in (cli.sections if sections is None else sections) or ():
        options += ["--section", section]
    if names := (cli.metrics if metrics is None else metrics):
        options += ["--metrics", ",".join(names)]
    if cli.kernel_name is not None:
        options += ["--kernel-name", cli.kernel_name]
    options += ["--kernel-name-base", cli.kernel_name_base]
    skip = cli.launch_skip if cli.launch_skip is not None else launch_skip
    count = cli.launch_count if cli.launch_count is not None else launch_count
    if skip is not None:
        options += ["--launch-skip", str(skip)]
    if count is not None:
        options += ["--launch-count", str(count)]
    return options


def profile_argv(
    ncu: str | Path,
    settings: Ncu,
    options: Sequence[str],
    output_dir: Path,
    command: Sequence[str],
    *,
    of_rank: bool = False,
) -> list[str]:
    """`ncu … COMMAND`, which leaves `report.ncu-rep` in `output_dir`; `extra_args` come last.

    Args:
        of_rank: it is started on every rank, each with a report of its own.
    """
    name = f"{NCU_OUTPUT}.rank-%q{{RANK}}" if of_rank else NCU_OUTPUT
    return [
        str(ncu),
        *options,
        "-o",
        str(output_dir / name),
        *(["--force-overwrite"] if settings.ncu_cli.force_overwrite else []),
        *settings.ncu_cli.extra_args,
        *command,
    ]


COMMUNICATION = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL"
"""A kernel that waits for its like on the other ranks."""
NO_COMMUNICATION = "regex:^(?!.*[nN]ccl).*"
"""Every kernel but those of NCCL, for `--kernel-name`."""


def of_ranks(settings: Ncu) -> tuple[Ncu, bool, str]:
    """The settings for ranks that talk to each other, whether ncu is on all of them, and what the plan says of it.

    Kernels that ranks wait in are never replayed on one rank alone: the others would not answer a second time.

    Raises:
        ConfigError: that is what the settings ask for.
    """
    cli = settings.ncu_cli
    used = used_options("ncu", "", cli.extra_args)
    if any(item.option is not None and item.option.name == "communicator" for item in used):
        return settings, True, "ncu on every rank: --communicator in extra_args has them replay together"
    remedy = (
        "leave it out: the kernels of NCCL are left out then; or, with a release of ncu that has it, replay on all "
    )
    remedy += "ranks together: extra_args: [--communicator, tcp, --lockstep-kernel-launch]"
    if cli.replay_mode not in ("auto", "kernel"):
        raise ConfigError(
            f"pipeline.ncu.ncu_cli.replay_mode: {cli.replay_mode} would run the collectives of one rank again without "
            "the others",
            remedy,
        )
    if cli.kernel_name is not None and _matches(cli.kernel_name, COMMUNICATION):
        raise ConfigError(
            f"pipeline.ncu.ncu_cli.kernel_name: {cli.kernel_name} takes in the kernels of NCCL, which would wait for "
            "the other ranks for ever when one rank runs them again",
            remedy,
        )
    changes = {"replay_mode": "kernel", "kernel_name": cli.kernel_name or NO_COMMUNICATION}
    note = "ncu on rank 0 alone, with the kernels of NCCL left out: no other rank waits for a kernel that is run again"
    return settings.model_copy(update={"ncu_cli": cli.model_copy(update=changes)}), False, note


def _matches(kernel_name: str, name: str) -> bool:
    if not kernel_name.startswith("regex:"):
        return kernel_name == name
    try:
        return re.search(kernel_name.removeprefix("regex:"), name) is not None
    except re.error:
        return True  # ncu's own words for it are not known here


def bounds_launches(settings: Ncu) -> bool:
    """Whether the settings say which launches are profiled; otherwise every kernel of the workload would be."""
    cli = settings.ncu_cli
    if filters(settings) or cli.kernel_name is not None or cli.launch_count is not None:
        return True
    used = used_options("ncu", "", cli.extra_args)
    return any(item.option is not None and item.option.name in _BOUNDING for item in used)


def bounds_launches_of_ranks(settings: Ncu) -> bool:
    """As `bounds_launches`; leaving out the kernels of NCCL bounds nothing."""
    cli = settings.ncu_cli
    if cli.kernel_name != NO_COMMUNICATION:
        return bounds_launches(settings)
    return bounds_launches(settings.model_copy(update={"ncu_cli": cli.model_copy(update={"kernel_name": None})}))


_BOUNDING = frozenset({"kernel-id", "kernel-name", "launch-count", "nvtx-include", "range-filter"})


def notes(settings: Ncu, version: Version | None = None) -> list[str]:
    """What a reader of the plan should know about this run."""
    cli = settings.ncu_cli
    options = profile_options(settings)
    found = check("ncu", "", options, version)
    found += [f"extra_args: {problem}" for problem in check("ncu", "", cli.extra_args, version)]
    for no in refused(cli.replay_mode, [*options, *cli.extra_args]):
        found.append(f"ncu refuses {no} with replay_mode: {cli.replay_mode}, so the stage will fail")
    for item in filters(settings):
        if item.sent != item.written:
            found.append(f"nvtx.include: {item.written} is sent as {item.sent}")
        if item.note is not None:
            found.append(f"nvtx.include: {item.note}")
    if cli.nvtx.include is not None and not settings.gating_nvtx:
        found.append("gating_nvtx is false: nvtx.include is not sent")
    return found
