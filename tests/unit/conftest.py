"""Unit tests start no process."""

from __future__ import annotations

from tests.standins.no_process import no_process

__all__ = ["no_process"]
