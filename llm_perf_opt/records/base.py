"""The base of every record: a typed fact that is written as versioned JSON and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from llm_perf_opt.opening import read_file


class Record(BaseModel):
    """Frozen; unknown keys are errors; units are in the names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, protected_namespaces=(), ser_json_inf_nan="null"
    )

    SUMMARY: ClassVar[str | None] = None
    """Its key in `summary.json`; None leaves it out."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file.

        Raises:
            OSError, ValueError: it cannot be read, or holds something else.
        """
        return cls.model_validate_json(read_file(path))

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it."""
        return self.model_dump(mode="json", by_alias=True)
