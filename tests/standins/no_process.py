"""A fixture for unit tests: starting a process is an error, so none starts one by accident."""

from __future__ import annotations

import os
import subprocess
from typing import NoReturn

import pytest


def _refuse(*args: object, **_kwargs: object) -> NoReturn:
    raise AssertionError(f"a unit test tried to start a process: {args[-1] if args else ''!r}")


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every way of starting a process fail."""
    monkeypatch.setattr(subprocess.Popen, "__init__", _refuse)
    for name in ("fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, _refuse)
