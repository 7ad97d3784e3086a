"""Where a run happened: machine, system, library versions and the variables that change results."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.hardware import GpuInventory


class ExtensionRecord(Record):
    """A third party's stage, adapter or section that was loaded."""

    kind: str
    name: str
    distribution: str
    version: str


class EnvironmentRecord(Record):
    """`env.json`. No secret, no user or host name, no working directory."""

    schema_version: Literal[1] = 1
    os: str
    """Name and release of the system, such as "Debian GNU/Linux 12 (bookworm)" or "macOS 15.5"."""
    kernel: str
    machine: str
    """Instruction set, such as x86_64."""
    cpu_model: str | None
    """Null where the system does not name it."""
    cpu_logical_cores: int | None
    cpu_available_cores: int | None
    """Logical cores this process may run on; fewer than there are in a container or under taskset."""
    memory_total_bytes: int | None
    python_version: str
    python_implementation: str
    libraries: dict[str, str | None]
    """Distribution → installed version, null where it is not installed."""
    environment: dict[str, str]
    """Variables that change how CUDA, torch, the hub or llmperf behave; secrets are `***`."""
    gpus: GpuInventory
    extensions: tuple[ExtensionRecord, ...] = ()
    """Third parties' extensions that were loaded when the run began."""
