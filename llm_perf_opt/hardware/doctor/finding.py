"""What a check answers, and what it may look at."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.hardware.nvml import Nvml, load_nvml
from llm_perf_opt.records.hardware import GpuInventory

Status = Literal["ok", "warn", "missing", "unknown"]
"""`ok`; works, with a limit (`warn`); not there or not usable (`missing`); could not be told (`unknown`)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    status: Status
    detail: str
    """What was found, or why nothing was."""
    remedy: str = ""
    """What to do about it; empty when there is nothing to do."""


ToolName = Literal["nsys", "ncu"]


class Tool(Protocol):
    """A found profiler, as `llm_perf_opt.tools.discovery` gives it."""

    @property
    def path(self) -> object: ...
    @property
    def version(self) -> object: ...
    @property
    def source(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child process left behind."""

    code: int
    """Exit code; negative for a signal, 124 when it took too long."""
    stdout: str
    stderr: str


def ask_child(argv: Sequence[str], timeout_s: float) -> Answer:
    """Run a short question as a child process; a child that cannot be started or hangs is an answer too."""
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Answer(124, "", f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Answer(127, "", str(error))
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Surroundings:
    """Everything the checks look at; tests put recorded files and answers in its place."""

    find_tool: Callable[[ToolName], Tool | None]
    """Finds a profiler; may raise an LlmperfError whose message and remedy are then the finding."""
    root: Path = Path("/")
    """Where `/proc` is."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    working_directory: Path = field(default_factory=Path.cwd)
    temporary_directory: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    which: Callable[[str], str | None] = shutil.which
    ask: Callable[[Sequence[str], float], Answer] = ask_child
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    detect: Callable[[], GpuInventory] = detect_gpus
    load_nvml: Callable[[], Nvml] = load_nvml
    system: str = field(default_factory=platform.system)
    wait: Callable[[float], None] = time.sleep

    @cached_property
    def gpus(self) -> GpuInventory:
        return self.detect()

    def text(self, path: str) -> str | None:
        """A file below `root`, or None where it is absent or unreadable."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
