"""Refusing, before anything is loaded, a model that cannot be spread over the ranks that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_perf_opt.analysis.sharding.tp_plan import image_type_with_plan, tensor_plan, text_type
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.adapter import Adapter

_HEADS, _KEYS = ("num_attention_heads",), ("num_key_value_heads", "num_attention_heads")
_SIZES: Mapping[str, tuple[str, ...]] = {
    "q_proj": _HEADS,
    "q_b_proj": _HEADS,
    "kv_b_proj": _HEADS,
    "k_proj": _KEYS,
    "v_proj": _KEYS,
    "gate_proj": ("intermediate_size",),
    "up_proj": ("intermediate_size",),
    "experts.gate_up_proj": ("moe_intermediate_size", "intermediate_size"),
}
"""End of a module that a plan cuts by its outputs → the keys of the sizes that are cut, the first that is there."""
_CUT = ("colwise", "packed_colwise")


def check_sharding(config: Config, adapter: Adapter, model_config: Mapping[str, Any]) -> None:
    """Refuse ranks that the model cannot be spread over.

    Raises:
        ConfigError: naming the model, its plan or the size that does not divide, and what would.
    """
    parallel = config.parallel
    if parallel.tensor == 1:
        return
    path = Path(config.model.path or "")
    if not adapter.shards or path.suffix == ".gguf" or config.model.trust_remote_code:
        what = "a .gguf file" if path.suffix == ".gguf" else "code of its own" if adapter.shards else config.model.name
        raise ConfigError(
            f"parallel.tensor: {parallel.tensor}: a model from {what} is not sharded",
            "give a directory of a model that transformers has a class for (causal_lm, image_text), or set "
            "parallel.tensor: 1",
        )
    model_type = text_type(model_config)
    plan = tensor_plan(model_type)
    if plan is None:
        raise ConfigError(
            f"parallel.tensor: {parallel.tensor}: transformers has no plan to shard a {model_type} model by",
            "set parallel.tensor: 1",
        )
    if (images := image_type_with_plan(model_config)) is not None:
        raise ConfigError(
            f"parallel.tensor: {parallel.tensor}: transformers' plan shards the image path of this model too: "
            f"{images} is not covered",
            "set parallel.tensor: 1",
        )
    for key, size in sizes_cut(plan, model_config):
        if size % parallel.tensor:
            raise ConfigError(
                f"parallel.tensor: {parallel.tensor} does not divide {key} {size:,} of this {model_type} model",
                f"choose one that does: {', '.join(map(str, _divisors(plan, model_config)))}",
            )


def sizes_cut(plan: Mapping[str, str], model_config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """(key, value) of every size of the decoder that the plan cuts into equal parts."""
    inner = next((model_config[part] for part in ("text_config", "language_config") if part in model_config), None)
    values = {**model_config, **inner} if isinstance(inner, Mapping) else model_config
    seen = set()
    for path, style in plan.items():
        keys = next((keys for end, keys in _SIZES.items() if path.endswith(f".{end}")), None)
        if style not in _CUT or keys is None:
            continue
        key = next((key for key in keys if isinstance(values.get(key), int)), None)
        if key is not None and key not in seen:
            seen.add(key)
            yield key, values[key]


def _divisors(plan: Mapping[str, str], model_config: Mapping[str, Any]) -> list[int]:
    sizes = [size for _, size in sizes_cut(plan, model_config)]
    most = min(sizes, default=1)
    return [ranks for ranks in range(1, most + 1) if all(size % ranks == 0 for size in sizes)]
