"""Fixtures of the stand-ins, and of the real tools where they are; a conftest imports them."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from llm_perf_opt.tools.discovery import VARIABLE, find_tool, version_problem
from llm_perf_opt.tools.options import ToolName
from tests.standins import recorder

HERE = Path(__file__).parent
OLD_NSYS = "2023.4.4.54"
# Read before the variables of the person who runs the tests are taken away.
CHOSEN = {name: os.environ[name] for name in VARIABLE.values() if name in os.environ}


@dataclass(frozen=True, slots=True)
class Nsight:
    """The stand-ins, and the environment that they and a workload under them need."""

    nsys: Path
    ncu: Path
    env: dict[str, str]
    real: bool = False
    """These are the tools themselves."""

    def workload(self, *steps: str) -> list[str]:
        """A command that does these steps (`tests/standins/workload.py`)."""
        return [sys.executable, str(HERE / "workload.py"), *steps]


@pytest.fixture(scope="session")
def nvtx_recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled NVTX recorder."""
    reason = recorder.why_not()
    if reason is not None:
        pytest.skip(reason)
    return recorder.build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="session")
def plain_nvtx(tmp_path_factory: pytest.TempPathFactory, nvtx_recorder: Path) -> Path:
    """A library that sends plain strings."""
    library = tmp_path_factory.mktemp("plain") / "libplain_nvtx.so"
    flags = ["-shared", "-fPIC", f"-isystem{recorder.nvtx_headers()}"]
    subprocess.run(["gcc", *flags, str(HERE / "plain_nvtx.c"), "-o", str(library), "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def nsight(nvtx_recorder: Path, plain_nvtx: Path) -> Nsight:
    """The stand-ins; put `env` over the environment of what should find and use them."""
    env = {
        "LLMPERF_NSYS": str(HERE / "nsys"),
        "LLMPERF_NCU": str(HERE / "ncu"),
        "NSIGHT_STANDIN_PYTHON": sys.executable,
        "NSIGHT_STANDIN_RECORDER": str(nvtx_recorder),
        "PLAIN_NVTX": str(plain_nvtx),
        "PATH": os.environ["PATH"],
    }
    return Nsight(HERE / "nsys", HERE / "ncu", env)


@functools.cache
def installed(name: ToolName) -> Path | str:
    """The real tool, or why there is none."""
    tool = find_tool(name, {"PATH": os.environ["PATH"], **CHOSEN})
    if tool is None:
        return f"{name} is not installed"
    return version_problem(tool) or Path(tool.path)


@pytest.fixture(params=["stand-in", "real"])
def nsys_tool(request: pytest.FixtureRequest, nsight: Nsight) -> Nsight:
    """Each nsys in turn; the test is skipped for the real one where there is none, or one that is too old."""
    return nsight if request.param == "stand-in" else _real("nsys", nsight)


@pytest.fixture(params=["stand-in 2023.4", "real"])
def nsys_for_own(request: pytest.FixtureRequest, nsight: Nsight) -> Nsight:
    """Each nsys in turn, for llmperf's own workload: the stand-in as a release that refuses NVTX extensions."""
    old = dataclasses.replace(nsight, env={**nsight.env, "NSIGHT_STANDIN_VERSION": OLD_NSYS})
    return old if request.param != "real" else _real("nsys", nsight)


@pytest.fixture(params=["stand-in", "real"])
def ncu_tool(request: pytest.FixtureRequest, nsight: Nsight) -> Nsight:
    """Each ncu in turn, likewise."""
    return nsight if request.param == "stand-in" else _real("ncu", nsight)


def _real(name: ToolName, nsight: Nsight) -> Nsight:
    found = installed(name)
    if isinstance(found, str):
        pytest.skip(found)
    # Ranges of the workload come with every release if they do not go through the nvtx package.
    kept = {key: nsight.env[key] for key in ("PLAIN_NVTX", "PATH")}
    env = {**kept, VARIABLE[name]: str(found), "WORKLOAD_NVTX": "library"}
    return dataclasses.replace(nsight, env=env, real=True, **{name: found})
