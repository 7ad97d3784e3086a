"""Fixtures of warm children; a conftest imports them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = "HF_MODULES_CACHE"
"""Where remote code is copied to, which transformers reads once."""
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="session")
def warm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """Where the server listens; None where it cannot be, and children start as ever."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    path = tmp_path_factory.mktemp("warm") / "socket"
    command = [sys.executable, "-u", "-m", "tests.warm.server", str(path)]
    # Not the process's own environment, which libraries may have added to.
    environment = {**os.environ, MODULES: str(path.parent)}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield path
        server.stdin.close()


@contextlib.contextmanager
def using(server: Path | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if server is not None:
            patch.setenv("WARM_CHILDREN", str(server))
            patch.setenv(MODULES, str(server.parent))
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))
        yield


@pytest.fixture(scope="module")
def warm_children(warm_server: Path | None) -> Iterator[None]:
    """Children that run a model or trace one start with torch imported, in this module's tests."""
    with using(warm_server):
        yield


@pytest.fixture
def warm_child(warm_server: Path | None) -> Iterator[None]:
    """The same in one test."""
    with using(warm_server):
        yield
