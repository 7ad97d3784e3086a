"""Fixtures of warm children; a conftest imports them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warm.client import COMMANDS, TORCH

HERE = Path(__file__).parent
MODULES = "HF_MODULES_CACHE"
"""Where remote code is copied to, which transformers reads once."""
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="session")
def warm_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The folder where the servers listen; None where they cannot be, and processes start as ever."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    folder = tmp_path_factory.mktemp("warm")
    # Not the process's own environment, which libraries may have added to.
    environment = {**os.environ, MODULES: str(folder)}
    with contextlib.ExitStack() as running:
        servers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-u", "-m", "tests.warm.server", str(folder / name)],
                    cwd=REPOSITORY,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in (TORCH, COMMANDS)
        ]
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield folder
        for server in servers:
            assert server.stdin is not None
            server.stdin.close()


@contextlib.contextmanager
def using(servers: Path | None, *, commands: bool = True) -> Iterator[None]:
    """Children of stages are forked off a server, and so is `llmperf` itself with `commands`."""
    with pytest.MonkeyPatch.context() as patch:
        if servers is not None:
            patch.setenv("WARM_CHILDREN", str(servers))
            patch.setenv(MODULES, str(servers))
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))
            if commands:
                patch.setenv("WARM_COMMANDS", str(servers))
        yield


@pytest.fixture(scope="module")
def warm_commands(warm_servers: Path | None) -> Iterator[None]:
    """`llmperf` and its children start with what they import imported, in this module's tests."""
    with using(warm_servers):
        yield


@pytest.fixture
def warm_command(warm_servers: Path | None) -> Iterator[None]:
    """The same in one test."""
    with using(warm_servers):
        yield


@pytest.fixture
def warm_child(warm_servers: Path | None) -> Iterator[None]:
    """In one test the children alone: `llmperf` is started as ever."""
    with using(warm_servers, commands=False):
        yield
