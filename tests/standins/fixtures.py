"""Fixtures of the stand-ins; a conftest imports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standins import recorder


@pytest.fixture(scope="session")
def nvtx_recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled NVTX recorder."""
    reason = recorder.why_not()
    if reason is not None:
        pytest.skip(reason)
    return recorder.build(tmp_path_factory.mktemp("recorder"))
