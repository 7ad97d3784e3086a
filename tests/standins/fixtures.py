"""Fixtures of the stand-ins; a conftest imports them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.standins import recorder

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Nsight:
    """The stand-ins, and the environment that they and a workload under them need."""

    nsys: Path
    ncu: Path
    env: dict[str, str]

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
