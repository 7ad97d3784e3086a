"""Integration tests start real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import CHROMIUM, FIREFOX, Browser, missing
from tests.browser import browser as start
from tests.standins.fixtures import ncu_tool, nsight, nsys_for_own, nsys_tool, nvtx_recorder, plain_nvtx
from tests.warm.fixtures import warm_child, warm_command, warm_commands, warm_servers


def _browser(name: str, factory: pytest.TempPathFactory) -> Iterator[Browser]:
    lacking = missing(name)
    if lacking is not None:
        pytest.skip(f"{lacking}; apt-get install chromium chromium-driver firefox-esr")
    with start(name, factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from _browser(CHROMIUM, tmp_path_factory)


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from _browser(FIREFOX, tmp_path_factory)


__all__ = [
    "ncu_tool",
    "nsight",
    "nsys_for_own",
    "nsys_tool",
    "nvtx_recorder",
    "plain_nvtx",
    "warm_child",
    "warm_command",
    "warm_commands",
    "warm_servers",
]


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Each in turn, at the width of a laptop."""
    found = request.getfixturevalue(request.param)
    found.resize(1280)
    yield found
