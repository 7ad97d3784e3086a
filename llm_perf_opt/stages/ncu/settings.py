"""Settings of Nsight Compute."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_perf_opt.config.base import Count, NonNegative, Positive, Settings, StageSettings, Strings


class NcuNvtx(Settings):
    """Which NVTX ranges ncu profiles kernels in."""

    include: str | Strings | None = None
    """Range expression, or several (a list, or `;` between them); each becomes one `--nvtx-include`."""


class NcuExport(Settings):
    """What is exported from the ncu report."""

    csv: bool = True
    """Write `raw.csv` with every metric of every kernel."""


class NcuCli(Settings):
    """Options of the ncu command line."""

    target_processes: Literal["all", "application-only"] = "all"
    """Profile child processes too (`--target-processes`)."""
    replay_mode: Literal["auto", "kernel", "application", "range", "app-range"] = "auto"
    """What is run again to collect all metrics (`--replay-mode`); auto: app-range for ranges of the model, else
    kernel."""
    nvtx: NcuNvtx = Field(default_factory=NcuNvtx)
    """Which NVTX ranges to profile kernels in."""
    set: str | None = "roofline"
    """Section set (`--set`)."""
    sections: Strings | None = None
    """Sections (`--section`, one each)."""
    metrics: Strings | None = None
    """Metrics (`--metrics`, joined by commas)."""
    kernel_name: str | None = None
    """Kernels to profile: an exact name or `regex:…` (`--kernel-name`)."""
    kernel_name_base: Literal["demangled", "function", "mangled"] = "demangled"
    """Which form of the name is matched (`--kernel-name-base`)."""
    launch_skip: NonNegative | None = None
    """Matching launches to pass over first (`--launch-skip`)."""
    launch_count: Count | None = None
    """Most launches to profile (`--launch-count`)."""
    export: NcuExport = Field(default_factory=NcuExport)
    """What is exported from the report."""
    force_overwrite: bool = True
    """Replace an existing report file (`--force-overwrite`)."""
    extra_args: Strings = ()
    """Further options, passed last as they are."""


class Ncu(StageSettings):
    """Nsight Compute: counters of single kernels or ranges."""

    enable: bool = False
    """Run this stage."""
    gating_nvtx: bool = True
    """Send the NVTX filters; false drops those only."""
    timeout_s: Positive | None = None
    """Stop ncu after this many seconds."""
    ncu_cli: NcuCli = Field(default_factory=NcuCli)
    """Options of the ncu command line."""
