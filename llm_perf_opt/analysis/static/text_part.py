"""The text decoder inside a vision-language model: described by the family of its own model type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_perf_opt.analysis.static.description import Description, Options
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.analysis.static.reader import Reader


def text_description(
    config: Reader,
    options: Options,
    *,
    model_type: str,
    absent: Mapping[str, Any],
    tied: bool | None,
    key: str = "text_config",
) -> tuple[Description, int]:
    """The decoder under `key` and its hidden size.

    Args:
        model_type: the type taken where the nested mapping names none.
        absent: the values transformers takes where the whole mapping is missing.
        tied: whether the outer model ties its head; None asks the outer config, then the text's.

    Raises:
        NotCovered: the nested model type has no closed form.
    """
    given = config.mapping(key)
    values: Mapping[str, Any] = given if config.get(key) is not None else absent
    named = values.get("model_type", model_type)
    family = find_family(named) if isinstance(named, str) else None
    if family is None:
        raise config.not_covered(key, f"has model_type {named!r}")
    if tied is None:
        own = values.get("tie_word_embeddings", family.defaults.get("tie_word_embeddings", False))
        tied = config.flag("tie_word_embeddings") or bool(own)
    text = Reader(
        {**values, "tie_word_embeddings": tied},
        family.defaults,
        where=config.where,
        prefix=f"{config.prefix}{key}.",
        aliases=family.aliases,
    )
    text.check_spelling()
    text.check_experts()
    return family.describe(text, options), text.size("hidden_size")
