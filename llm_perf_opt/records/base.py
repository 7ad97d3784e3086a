"""The base of every record: a typed fact that is written as versioned JSON and read back."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen; unknown keys are errors; units are in the names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, protected_namespaces=(), ser_json_inf_nan="null"
    )
