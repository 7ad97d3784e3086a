"""The NVTX recorder (`nvtx_recorder.c`): building it, running a program under it, reading what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("nvtx_recorder.c")


@dataclass(frozen=True, slots=True)
class Event:
    """One NVTX call; `domain` None is the default domain."""

    event: str
    ns: int
    pid: int
    tid: int
    domain: str | None
    name: str | None = None
    registered: bool = False
    id: int = 0


def nvtx_headers() -> Path | None:
    """The folder that `nvtx3/nvToolsExt.h` is in, of the nvidia-nvtx package that torch brings; None without it."""
    # The stand-ins, which start by the hundred, read what was recorded and have no use for this.
    import importlib.metadata

    try:
        files = importlib.metadata.files("nvidia-nvtx") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "nvToolsExt.h" and file.parent.name == "nvtx3":
            return Path(str(file.locate())).parent.parent
    return None


def why_not() -> str | None:
    """Why the recorder cannot be built here, or None."""
    if shutil.which("gcc") is None:
        return "gcc is not installed"
    if nvtx_headers() is None:
        return "the nvidia-nvtx package (its NVTX headers) is not installed"
    return None


def build(folder: Path) -> Path:
    """Compile the recorder into `folder`."""
    library = folder / "libnvtx_recorder.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
    command = ["gcc", *flags, f"-isystem{nvtx_headers()}", str(SOURCE), "-o", str(library), "-lpthread"]
    subprocess.run(command, check=True)
    return library


def environment(library: Path, log: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which a program's NVTX calls are recorded in `log`."""
    env = dict(os.environ if base is None else base)
    return {**env, "NVTX_INJECTION64_PATH": str(library), "NVTX_RECORDER_LOG": str(log)}


def parse(line: str) -> Event:
    return Event(**json.loads(line))


def read(log: Path) -> list[Event]:
    """The recorded events, in the order they were written; none when the program never used NVTX."""
    if not log.exists():
        return []
    return [parse(line) for line in log.read_text().splitlines()]
