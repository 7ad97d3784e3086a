"""Integration tests start real processes."""

from __future__ import annotations

from tests.real_model import smollm2
from tests.standins.fixtures import ncu_tool, nsight, nsys_for_own, nsys_tool, nvtx_recorder, plain_nvtx

__all__ = ["ncu_tool", "nsight", "nsys_for_own", "nsys_tool", "nvtx_recorder", "plain_nvtx", "smollm2"]
