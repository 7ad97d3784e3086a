"""The configuration as JSON Schema, for editors: every key with its description, allowed values and default."""

from __future__ import annotations

from typing import Any

from llm_perf_opt.config.base import Settings, StageSettings
from llm_perf_opt.config.describe import default_of, field_text
from llm_perf_opt.config.keys import section_of, walk
from llm_perf_opt.config.schema import Config

_DEFAULTS: dict[str, Any] = {
    "type": "array",
    "description": "Presets to lay one over the other, in this order: `- group@mount: option`, and `_self_` for the "
    "keys of this file. Without it, the file is laid over the shipped demo.",
    "items": {
        "anyOf": [
            {"const": "_self_"},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": {"type": "string"},
            },
        ]
    },
}


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a configuration file."""
    result = Config.model_json_schema()
    definitions = result["$defs"]
    for model in _models():
        _describe(result if model is Config else definitions[model.__name__], model)
    properties = {"defaults": _DEFAULTS, **result.pop("properties")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmperf configuration",
        **{key: value for key, value in result.items() if key not in ("title", "$defs")},
        "properties": properties,
        "$defs": definitions,
    }


def _models() -> list[type[Settings]]:
    sections = (section_of(field) for _, field in walk())
    return [Config, *dict.fromkeys(section for section in sections if section is not None)]


def _describe(definition: dict[str, Any], model: type[Settings]) -> None:
    definition.pop("title", None)
    definition["description"] = " ".join((model.__doc__ or "").split())
    for name, field in model.model_fields.items():
        entry = definition["properties"][name]
        entry.pop("title", None)
        entry["description"] = field_text(model, name)
        if section_of(field) is None:
            entry["default"] = default_of(field)
    for alias, name in model.ALIASES.items() if issubclass(model, StageSettings) else ():
        words = {"description": f"Another spelling of `{name}`.", "deprecated": True}
        definition["properties"][alias] = {**definition["properties"][name], **words}
