"""Errors a user can act on: each says what, where and the remedy, and carries the exit code.

Raised deep, caught once at the command line's edge (`llm_perf_opt.cli.main`).
"""

from __future__ import annotations

from typing import ClassVar


class LlmperfError(Exception):
    """Base of every expected failure.

    Args:
        message: what is wrong and where, in one or two sentences.
        remedy: what the reader can do about it; empty when the message says it all.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class StageError(LlmperfError):
    """A stage or a sample failed (exit code 1)."""

    exit_code = 1


class ConfigError(LlmperfError):
    """The configuration or the command line is wrong (exit code 2)."""

    exit_code = 2


class MissingError(LlmperfError):
    """A needed tool, device or file is missing (exit code 3)."""

    exit_code = 3


class GateError(LlmperfError):
    """A comparison gate was crossed (exit code 4)."""

    exit_code = 4


class InconclusiveError(LlmperfError):
    """A comparison gate could not be decided (exit code 5)."""

    exit_code = 5
