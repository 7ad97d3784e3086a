"""Finding nsys and ncu, and which version they are."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llm_perf_opt.errors import LlmperfError, MissingError
from llm_perf_opt.records.tools import Tool
from llm_perf_opt.tools.options import ToolName, Version, dotted, parse_version
from llm_perf_opt.tools.process import run

VARIABLE: dict[ToolName, str] = {"nsys": "LLMPERF_NSYS", "ncu": "LLMPERF_NCU"}

MINIMUM: dict[ToolName, tuple[Version, str]] = {
    # docs.nvidia.com/nsight-systems/2021.4/UserGuide is the first guide read that says .nsys-rep.
    "nsys": ((2021, 4), "older releases name their reports .qdrep"),
    "ncu": ((2022, 4), "what older releases accept was not looked up"),
}
"""Oldest release that is used, and why."""

# Below an installation root; `*` is one path component. Both tools come with the CUDA toolkit, as packages of their own
# under /opt/nvidia, with the HPC SDK, and from distributions under /usr/lib.
_PLACES: dict[ToolName, tuple[str, ...]] = {
    "nsys": (
        "opt/nvidia/nsight-systems*/*/bin/nsys",
        "opt/nvidia/nsight-systems*/*/target-linux-*/nsys",
        "opt/nvidia/hpc_sdk/Linux_*/*/profilers/Nsight_Systems/bin/nsys",
        "usr/local/cuda*/bin/nsys",
        "usr/local/cuda*/nsight-systems-*/bin/nsys",
        "usr/lib/nsight-systems/bin/nsys",
        "usr/lib/nsight-systems/target-linux-*/nsys",
        "Applications/NVIDIA Nsight Systems.app/Contents/MacOS/nsys",
    ),
    "ncu": (
        "opt/nvidia/nsight-compute/*/ncu",
        "opt/nvidia/hpc_sdk/Linux_*/*/profilers/Nsight_Compute/ncu",
        "usr/local/cuda*/bin/ncu",
        "usr/local/cuda*/nsight-compute-*/ncu",
        "usr/local/NVIDIA-Nsight-Compute*/ncu",
        "usr/lib/nsight-compute/ncu",
    ),
}
_VERSION = re.compile(r"\bversion\s+(\d+(?:\.\d+)+)", re.IGNORECASE)
VERSION_TIMEOUT_S = 60.0


def find_tool(name: ToolName, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> Tool | None:
    """The newest installed version, or None.

    `LLMPERF_NSYS` or `LLMPERF_NCU`, where set, decides alone.

    Raises:
        MissingError: that variable names no program that runs.
    """
    environment = os.environ if environ is None else environ
    chosen = environment.get(VARIABLE[name])
    if chosen:
        tool = probe(name, Path(chosen), VARIABLE[name], environment)
        if tool is None:
            raise MissingError(
                f"{VARIABLE[name]} is {chosen}, which is not a program that runs",
                f"set it to the path of {name}, or unset it to have it looked for",
            )
        return tool
    found = [probe(name, path, source, environment) for path, source in candidates(name, environment, root)]
    return newest([tool for tool in found if tool is not None])


def candidates(name: ToolName, environ: Mapping[str, str], root: Path = Path("/")) -> Iterator[tuple[Path, str]]:
    """Every place the tool is in, each file once: PATH first, then the usual folders in a fixed order."""
    seen: set[Path] = set()
    on_path = ((Path(folder) / name, "PATH") for folder in environ.get("PATH", "").split(os.pathsep) if folder)
    installed = ((path, str(path.parent)) for place in _PLACES[name] for path in sorted(root.glob(place)))
    for path, source in (*on_path, *installed):
        if path.is_file() and os.access(path, os.X_OK) and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path, source


def newest(tools: Sequence[Tool]) -> Tool | None:
    """The one of the highest version; of equals, the first."""
    return max(tools, key=lambda tool: parse_version(tool.version), default=None)


def probe(name: ToolName, path: Path, source: str, environ: Mapping[str, str]) -> Tool | None:
    """Ask the program for its version; None when it cannot be run."""
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:  # a name that is looked for on PATH, too
        changed_ns = 0
    said = _said(path, changed_ns, tuple(sorted(environ.items())))
    return None if said is None else Tool(name=name, path=str(path), version=read_version(said), source=source)


@functools.cache
def _said(path: Path, changed_ns: int, environ: tuple[tuple[str, str], ...]) -> str | None:
    """What `--version` prints, asked for once a process: the profiles of a thousand kernels are planned one by one."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "version"
        try:
            finished = run(
                [str(path), "--version"], log=log, cwd=Path(folder), env=dict(environ), timeout_s=VERSION_TIMEOUT_S
            )
        except LlmperfError:
            return None
        return log.read_text(errors="replace") if finished.ok else None


def read_version(output: str) -> str:
    """The version in what `--version` printed, without its build; empty when there is none."""
    found = _VERSION.search(output)
    return found[1] if found else ""


def version_problem(tool: Tool) -> str | None:
    """Why this version is too old, or None."""
    minimum, reason = MINIMUM[tool.name]
    version = parse_version(tool.version)
    if version and version < minimum:
        return f"{tool.name} {tool.version} at {tool.path} is older than {dotted(minimum)}: {reason}"
    return None


def require_tool(name: ToolName) -> Tool:
    """The tool, or an error that says how to get it.

    Raises:
        MissingError: not installed, or too old.
    """
    tool = find_tool(name)
    product = {"nsys": "Nsight Systems", "ncu": "Nsight Compute"}[name]
    where = f"install {product} ({_DOWNLOAD[name]}) or set {VARIABLE[name]} to its path"
    if tool is None:
        system = "" if sys.platform.startswith("linux") else " (it profiles on Linux only)"
        raise MissingError(f"{name} was found neither on PATH nor in the usual folders{system}", where)
    problem = version_problem(tool)
    if problem is not None:
        raise MissingError(problem, where)
    return tool


_DOWNLOAD = {
    "nsys": "https://developer.nvidia.com/nsight-systems/get-started",
    "ncu": "https://developer.nvidia.com/tools-overview/nsight-compute/get-started",
}
