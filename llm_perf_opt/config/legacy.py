"""`outputs.*` and root `output.*` of the earlier system, still read for one release.

To be deleted, with its one call in `load.py` and its test, in the first release after 2027-05-31: `remedies.py`
then answers these keys, like all others of the earlier system, with where they live now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from llm_perf_opt.config.remedies import OUTPUT_ROOTS, OUTPUTS
from llm_perf_opt.config.tree import Node, merge, mount

READ_UNTIL = "2027-05-31"


def read_layers(layers: Sequence[Node]) -> tuple[list[Node], tuple[str, ...]]:
    """All layers with their old output keys moved, and one line about it where there were any."""
    pairs = [read_outputs(layer) for layer in layers]
    read = [name for _, names in pairs for name in names]
    return [layer for layer, _ in pairs], (note(read),) if read else ()


def read_outputs(layer: Node) -> tuple[Node, list[str]]:
    """The layer with its old output keys at their new places, and the old keys that were read.

    Within a layer the new key wins. What is not an old output key is left for validation to refuse.
    """
    if not isinstance(layer.value, dict) or not any(root in layer.value for root in OUTPUT_ROOTS):
        return layer, []
    kept = dict(layer.value)
    moved: list[Node] = []
    read: list[str] = []
    for root in OUTPUT_ROOTS:
        section = kept.get(root)
        if section is None or not isinstance(section.value, dict):
            continue
        rest = section
        for name, node in _leaves(section):
            if name in OUTPUTS:
                *parents, last = OUTPUTS[name].split(".")
                moved.append(mount(Node({last: node}, node.source), parents))
                read.append(f"{root}.{name}")
                rest = _without(rest, name.split("."))
        if rest.value:
            kept[root] = rest
        else:
            del kept[root]
    below = reduce(merge, moved, Node({}, layer.source))
    return merge(below, layer.with_value(kept)), read


def note(read: list[str]) -> str:
    """One line that says where the keys live now."""
    pairs = ", ".join(f"{old} → {OUTPUTS[old.partition('.')[2]]}" for old in dict.fromkeys(read))
    return f"INFO: old keys, read until {READ_UNTIL} (`llmperf config migrate` rewrites them): {pairs}"


def _leaves(node: Node, prefix: str = "") -> Iterator[tuple[str, Node]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, node


def _without(node: Node, path: list[str]) -> Node:
    assert isinstance(node.value, dict)
    name, *below = path
    kept = dict(node.value)
    if below:
        child = _without(kept[name], below)
        if child.value:
            kept[name] = child
            return node.with_value(kept)
    del kept[name]
    return node.with_value(kept)
