"""A configuration to YAML and to plain values."""

from __future__ import annotations

from typing import Any

from llm_perf_opt.config.emit import emit, items
from llm_perf_opt.config.schema import Config


def to_dict(config: Config) -> dict[str, Any]:
    """Every setting, as values JSON and YAML have (lists for tuples)."""
    return config.model_dump(mode="json")


def to_yaml(config: Config) -> str:
    """Every setting, nulls too, so that the text loads back to the same configuration whatever it is laid over."""
    return emit(items(to_dict(config)))
