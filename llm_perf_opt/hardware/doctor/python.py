"""Python, uv and the NVTX package."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings

OLDEST_PYTHON = (3, 11)


def check_python(surroundings: Surroundings) -> tuple[Finding, ...]:
    """The interpreter that runs us and will run the workload."""
    detail = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return (Finding("python", "missing", detail, "install Python 3.11 or later: uv python install 3.13"),)
    return (Finding("python", "ok", detail),)


def check_uv(surroundings: Surroundings) -> tuple[Finding, ...]:
    """uv makes the environment; an installed wheel works without it."""
    path = surroundings.which("uv")
    if path is None:
        remedy = "only needed to work on a checkout: https://docs.astral.sh/uv/getting-started/installation/"
        return (Finding("uv", "missing", "not on PATH", remedy),)
    answer = surroundings.ask([path, "--version"], 20)
    if answer.code != 0:
        detail = f"{path} does not tell its version: {answer.stderr.strip()}"
        return (Finding("uv", "unknown", detail, "install it again with: uv self update"),)
    return (Finding("uv", "ok", f"{answer.stdout.strip().removeprefix('uv ')} at {path}"),)


def check_nvtx(surroundings: Surroundings) -> tuple[Finding, ...]:
    """The package that pushes the ranges nsys and ncu wait for."""
    try:
        version = metadata.version("nvtx")
    except metadata.PackageNotFoundError:
        remedy = "install it (uv sync, or pip install nvtx): without ranges no capture can be triggered"
        return (Finding("nvtx", "missing", "the Python package is not installed", remedy),)
    return (Finding("nvtx", "ok", version),)
