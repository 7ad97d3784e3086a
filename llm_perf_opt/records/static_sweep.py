"""What a static sweep found: phases of one model at many combinations of sizes, as rows with units in their names."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from typing import Final

SCHEMA: Final = "llmperf.static_sweep/1"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One phase at one combination of sizes, on one GPU or on none. Times in milliseconds."""

    batch: int
    prompt_tokens: int
    context: int | None
    """Cached tokens of a decode step; null for prefill."""
    phase: str
    flops: int
    weight_bytes: int
    """Under the routing that reads the fewest experts."""
    kv_bytes: int
    state_bytes: int
    bytes: int
    arithmetic_intensity: float
    gpu: str | None = None
    compute_ms: float | None = None
    memory_ms: float | None = None
    bound_ms: float | None = None
    limited_by: str | None = None
    tokens_per_s: float | None = None
    fits: bool | None = None


COLUMNS = tuple(field.name for field in fields(SweepPoint))
"""Columns of the CSV."""


@dataclass(frozen=True, slots=True)
class SweepGpu:
    """What one GPU of the sweep allows the type of the activations."""

    name: str
    peak_flops_per_s: float | None
    memory_bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class StaticSweep:
    """All points of one model."""

    model_type: str
    dtype: str
    """Of the activations."""
    gpus: tuple[SweepGpu, ...]
    points: tuple[SweepPoint, ...]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2)

    def to_csv(self) -> str:
        """All points, empty where a figure is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for point in self.points:
            values = [getattr(point, column) for column in COLUMNS]
            writer.writerow(
                ["" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in values]
            )
        return text.getvalue()
