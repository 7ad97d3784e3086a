"""Fixtures for all tests."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).parents[1]

# Small models on few cores: a second compute thread only spins.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Peaks of this machine are measured once for all tests, and not into the cache of whoever runs them; uv keeps its own.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("UV_CACHE_DIR", str(CACHE / "uv"))
os.environ["XDG_CACHE_HOME"] = str(REPOSITORY / ".pytest_cache" / "xdg")
# A shell that starts the tests in its background has them ignore these, and so would every process under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A busy machine is no fault of a test.
settings.register_profile("llmperf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("llmperf")

# The folders whose files take longest, so that no worker is left with one of them at the end.
FIRST = ("integration", "unit/workload")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.path.parent.relative_to(REPOSITORY / "tests").as_posix()
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests cost, workers and all their children with it; CONTRIBUTING.md has how much they may."""
    seconds = sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
    terminalreporter.write_line(f"{seconds:.0f} CPU s, user and system, of all processes")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches the code under test."""
    for name in list(os.environ):
        if name.startswith("LLMPERF_") and name != "LLMPERF_SHARED":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recorded profiler output and pages; the test is skipped where they are absent."""
    named = os.environ.get("LLMPERF_SHARED")
    folder = (Path(named) if named else REPOSITORY.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}; set LLMPERF_SHARED to the folder that holds data/")
    return folder
