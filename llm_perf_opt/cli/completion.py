"""Completion of overrides: keys, their allowed values, and presets."""

from __future__ import annotations

from llm_perf_opt.config.keys import all_settings, choices, field_at
from llm_perf_opt.config.presets import presets


def complete_argument(incomplete: str) -> list[tuple[str, str]]:
    """What a word of `[CONFIG] [OVERRIDES]...` may become, each with a short help."""
    left, equals, _ = incomplete.partition("=")
    if not equals:
        keys = [(f"{key}=", "") for key in all_settings() if key.startswith(incomplete)]
        groups = [(f"{group}=", "preset") for group in presets().groups() if group.startswith(incomplete)]
        return keys + groups
    field = field_at(left.split("."))
    if field is not None:
        words: tuple[str, ...] = choices(field.annotation)
        if not words and field.annotation is bool:
            words = ("true", "false")
        return [(f"{left}={word}", "") for word in words]
    return [(f"{left}={option}", "preset") for option in presets().options(left.partition("@")[0])]
