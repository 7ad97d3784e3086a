"""`torch_profiler.enabled`, another spelling of `enable`: rewritten in each layer before layers are merged."""

from __future__ import annotations

from llm_perf_opt.config.problems import InvalidConfig, at
from llm_perf_opt.config.tree import Node, find

_PATH = ("pipeline", "torch_profiler")


def rewrite_enabled(layer: Node) -> Node:
    """The layer with `enable` for `enabled`.

    Raises:
        InvalidConfig: one mapping has both.
    """
    section = find(layer, _PATH)
    if section is None or not isinstance(section.value, dict) or "enabled" not in section.value:
        return layer
    written = section.value["enabled"]
    if "enable" in section.value:
        problem = at(
            written,
            "enable and enabled are the same setting; both are written",
            path="pipeline.torch_profiler.enabled",
            remedy="keep enable",
        )
        raise InvalidConfig([problem])
    renamed = {"enable" if key == "enabled" else key: node for key, node in section.value.items()}
    return _replaced(layer, _PATH, section.with_value(renamed))


def _replaced(tree: Node, path: tuple[str, ...], node: Node) -> Node:
    if not path:
        return node
    assert isinstance(tree.value, dict)
    return tree.with_value({**tree.value, path[0]: _replaced(tree.value[path[0]], path[1:], node)})
