"""How a stage ended."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class Outcome(Record):
    """Completed, skipped with a reason, or failed with an error and a remedy; never empty for success."""

    status: Literal["completed", "skipped", "failed"]
    reason: str | None = None
    """Why it was skipped, or what failed."""
    remedy: str | None = None
    exit_code: int = 0
    """0, 1 (failed), 2 (its settings were refused) or 3 (something needed is missing)."""
    work_fingerprint: str | None = None
    """Identity of the work that was measured; null where the stage ran no model."""

    @classmethod
    def completed(cls, work_fingerprint: str | None = None) -> Outcome:
        return cls(status="completed", work_fingerprint=work_fingerprint)

    @classmethod
    def skipped(cls, reason: str) -> Outcome:
        return cls(status="skipped", reason=reason)

    @classmethod
    def failed(
        cls, error: str, remedy: str | None = None, exit_code: int = 1, work_fingerprint: str | None = None
    ) -> Outcome:
        return cls(status="failed", reason=error, remedy=remedy, exit_code=exit_code, work_fingerprint=work_fingerprint)
