"""Other spellings of keys (`StageSettings.ALIASES`): rewritten in each layer before layers are merged."""

from __future__ import annotations

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.config.pipeline import Pipeline
from llm_perf_opt.config.problems import Problem, at
from llm_perf_opt.config.tree import Node, find


def rewrite_aliases(layer: Node, problems: list[Problem]) -> Node:
    """The layer with each key for its other spelling; one mapping with both goes to `problems`."""
    for name, field in Pipeline.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, StageSettings):
            for alias, key in model.ALIASES.items():
                layer = _rewrite(layer, ("pipeline", name), alias, key, problems)
    return layer


def _rewrite(layer: Node, path: tuple[str, ...], alias: str, key: str, problems: list[Problem]) -> Node:
    section = find(layer, path)
    if section is None or not isinstance(section.value, dict) or alias not in section.value:
        return layer
    written = section.value[alias]
    if key in section.value:
        message = f"{key} and {alias} are the same setting; both are written"
        problems.append(at(written, message, path=".".join((*path, alias)), remedy=f"keep {key}"))
        kept = {name: node for name, node in section.value.items() if name != alias}
        return _replaced(layer, path, section.with_value(kept))
    renamed = {key if name == alias else name: node for name, node in section.value.items()}
    return _replaced(layer, path, section.with_value(renamed))


def _replaced(tree: Node, path: tuple[str, ...], node: Node) -> Node:
    if not path:
        return node
    assert isinstance(tree.value, dict)
    return tree.with_value({**tree.value, path[0]: _replaced(tree.value[path[0]], path[1:], node)})
