"""The base of every settings model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """Frozen; unknown keys are errors; no value is coerced to another type (an int may stand for a float).

    The string below a field is its description: `llm_perf_opt.config.describe` reads it from the source.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


# YAML has lists; frozen settings hold tuples.
Strings = Annotated[tuple[str, ...], Field(strict=False)]
NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def inconsistent(key: str, message: str, remedy: str) -> PydanticCustomError:
    """The error of settings that contradict each other, shown at `key` of the section that raises it."""
    return PydanticCustomError("inconsistent", "{message}", {"key": key, "message": message, "remedy": remedy})
