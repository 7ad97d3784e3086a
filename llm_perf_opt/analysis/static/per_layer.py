"""Layers that differ from the rest: transformers' `per_layer_config`, layer index -> keys it overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_perf_opt.analysis.static.decoder import stack
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import NotCovered
from llm_perf_opt.errors import ConfigError

KEY = "per_layer_config"
Blocks = Callable[[Mapping[str, Any]], tuple[Block, ...]]


def _overrides(config: Mapping[str, Any], where: str) -> dict[int, Mapping[str, Any]]:
    given = config[KEY]
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: {KEY} is not an object", "write layer index -> overridden keys")
    found: dict[int, Mapping[str, Any]] = {}
    for index, changes in given.items():
        if not str(index).isdigit() or not isinstance(changes, Mapping):
            raise ConfigError(
                f"{where}: {KEY}.{index} is no layer with its keys", "write layer index -> overridden keys"
            )
        if changes.get("skip"):
            raise NotCovered(f"{where}: {KEY}.{index}.skip has no closed form", "use --method traced")
        found[int(index)] = changes
    return found


def apply(config: Mapping[str, Any], where: str, blocks: Blocks) -> tuple[Block, ...]:
    """The decoder's blocks with each overridden layer taken from the same model built with its overrides.

    Args:
        blocks: describes the decoder of a config.

    Raises:
        ConfigError: overrides that name no layer, or skip parts of one.
    """
    plain = {key: value for key, value in config.items() if key != KEY}
    described = blocks(plain)
    layers: dict[int, tuple[str, tuple[Operator, ...]]] = {}
    for block in described:
        for index in block.layers:
            kind = block.name.partition("[")[2].removesuffix("]") or "common"
            layers[index] = (kind, block.operators)
    for index, changes in _overrides(config, where).items():
        if index not in layers:
            raise ConfigError(f"{where}: {KEY}.{index} names no layer", f"layers go from 0 to {len(layers) - 1}")
        for block in blocks({**plain, **changes}):
            if index in block.layers:
                layers[index] = (f"layer {index}", block.operators)
    ordered = [layers[index] for index in sorted(layers)]
    equal: dict[tuple[Operator, ...], str] = {}
    named = [(equal.setdefault(operators, kind), operators) for kind, operators in ordered]
    rest = [block for block in described if not block.layers]
    first = next(position for position, block in enumerate(described) if block.layers)
    return (*rest[:first], *stack(named), *rest[first:])
