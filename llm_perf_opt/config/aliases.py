"""`torch_profiler.enabled`, another spelling of `enable`: rewritten in each layer before layers are merged."""

from __future__ import annotations

from llm_perf_opt.config.problems import Problem, at
from llm_perf_opt.config.tree import Node, find

_PATH = ("pipeline", "torch_profiler")


def rewrite_enabled(layer: Node, problems: list[Problem]) -> Node:
    """The layer with `enable` for `enabled`; one mapping with both goes to `problems`."""
    section = find(layer, _PATH)
    if section is None or not isinstance(section.value, dict) or "enabled" not in section.value:
        return layer
    written = section.value["enabled"]
    if "enable" in section.value:
        message = "enable and enabled are the same setting; both are written"
        problems.append(at(written, message, path="pipeline.torch_profiler.enabled", remedy="keep enable"))
        kept = {key: node for key, node in section.value.items() if key != "enabled"}
        return _replaced(layer, _PATH, section.with_value(kept))
    renamed = {"enable" if key == "enabled" else key: node for key, node in section.value.items()}
    return _replaced(layer, _PATH, section.with_value(renamed))


def _replaced(tree: Node, path: tuple[str, ...], node: Node) -> Node:
    if not path:
        return node
    assert isinstance(tree.value, dict)
    return tree.with_value({**tree.value, path[0]: _replaced(tree.value[path[0]], path[1:], node)})
