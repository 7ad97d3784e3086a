"""A configuration to YAML and to plain values."""

from __future__ import annotations

from typing import Any

from llm_perf_opt.config.emit import emit, items
from llm_perf_opt.config.schema import Config
from llm_perf_opt.redact import redact_tree


def to_dict(config: Config) -> dict[str, Any]:
    """Every setting, as values JSON and YAML have (lists for tuples)."""
    return config.model_dump(mode="json")


def to_yaml(config: Config, *, hide: bool = False) -> str:
    """Every setting, nulls too, so that the text loads back to the same configuration whatever it is laid over.

    Args:
        hide: replace secrets by `***`; what held one does not load back.
    """
    return emit(items(redact_tree(to_dict(config)) if hide else to_dict(config)))
