"""Integration tests start real processes."""

from __future__ import annotations

from tests.standins.fixtures import nvtx_recorder

__all__ = ["nvtx_recorder"]
