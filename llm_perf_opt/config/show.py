"""A loaded configuration as text: YAML or JSON, with the origin of every value where asked for."""

from __future__ import annotations

import json as json_module

from llm_perf_opt.config.dump import to_dict, to_yaml
from llm_perf_opt.config.load import Loaded


def as_text(loaded: Loaded, *, origins: bool = False, json: bool = False) -> str:
    """The configuration. YAML loads back to the same; with origins each line says what set it."""
    if json:
        return _json(loaded, origins)
    return _with_origins(loaded) if origins else to_yaml(loaded.config)


def _json(loaded: Loaded, origins: bool) -> str:
    content: dict[str, object] = {"config": to_dict(loaded.config)} if origins else to_dict(loaded.config)
    if origins:
        content["origins"] = {
            path: {"kind": origin.kind, "name": origin.name, "line": origin.line or None}
            for path, origin in loaded.origins.items()
        }
    return json_module.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _with_origins(loaded: Loaded) -> str:
    values = to_dict(loaded.config)
    rows = []
    for path, origin in loaded.origins.items():
        value: object = values
        for part in path.split("."):
            assert isinstance(value, dict)
            value = value[part]
        rows.append((f"{path}: {json_module.dumps(value, ensure_ascii=False)}", str(origin)))
    width = min(72, max(len(left) for left, _ in rows))
    return "".join(f"{left:<{width}}  # {origin}\n" for left, origin in rows)
