"""A marked estimate for a model type that nothing here knows: counted as the known one that its config describes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from llm_perf_opt.analysis.static.auto_classes import classes_of
from llm_perf_opt.analysis.static.description import Family
from llm_perf_opt.analysis.static.families import every_family
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import StaticRecord

_PARTS = re.compile(
    r"expert|moe|lora|latent|mla|ssm|mamba|conv|state|recurren|linear_attn|index|compress|hash|hc_|shared|encoder|vision"
    r"|audio|image|cross|pattern|layer_types|layers_block"
)
"""Keys that stand for a part of a model that a family which does not read them lacks."""


class UnknownType(ConfigError):
    """A model type that the installed transformers does not know."""


def like_known(config: Mapping[str, Any], where: str) -> tuple[str, str]:
    """The known model type that a config of an unknown one describes, and what says so.

    By the class that `architectures` names, where transformers has it; else the type whose sizes all stand in the
    config, and that reads the most of its keys. Closed forms alone, so that the answer takes no longer than a refusal.

    Raises:
        ConfigError: there is none: then no estimate is better than a wrong one.
    """
    given = {key for key, value in config.items() if value not in (None, False)}
    parts = {key for key in given if _PARTS.search(key) and key != "is_encoder_decoder"}
    if config.get("is_encoder_decoder") is True or any(isinstance(config.get(key), Mapping) for key in _COMPOSITE):
        raise ConfigError(f"{where}: no estimate for a model of several stacks", "")
    named, types = _named(config)
    best: tuple[tuple[int, int, int, str], Family] | None = None
    for family in _families(types):
        read = {*family.defaults, *family.aliases}
        if family.remote or _COMPOSITE & read or parts - read or _unsaid(family, given):
            continue
        usual = _USUAL.index(family.model_type) if family.model_type in _USUAL else len(_USUAL)
        rank = (-len(given & read), usual, len(read - given), family.model_type)
        if best is None or rank < best[0]:
            best = rank, family
    if best is None and types:
        raise ConfigError(
            f"{where}: no estimate: its architectures name {named}, and no closed form has these keys",
            f"set model_type to {' or '.join(sorted(types))} in a copy of the config to count it as one",
        )
    if best is None:
        beside = f": none has all of {', '.join(sorted(parts))}" if parts else ""
        raise ConfigError(f"{where}: no estimate, since no known family has its sizes under these keys{beside}", "")
    unread = sorted(given & _sizes(config) - {*best[1].defaults, *best[1].aliases})
    beside = f" (it does not read {', '.join(unread)})" if unread else ""
    why = f"its architectures name {named}" if types else "its keys are those of that type"
    return best[1].model_type, f"{why}{beside}"


def _named(config: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """The class of transformers that a config names, and the model types that it is of; none."""
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    return next(((name, classes_of()[name]) for name in names if name in classes_of()), ("", frozenset()))


def _families(types: Collection[str]) -> Iterator[Family]:
    """Those of these types; of no types all."""
    return (family for family in every_family() if not types or family.model_type in types)


_USUAL = ("llama", "qwen3", "mistral", "mixtral", "qwen3_moe", "deepseek_v3")
"""What others are mostly like, of types that read as many keys."""
_COMPOSITE = {"text_config", "language_config", "vision_config", "audio_config", "thinker_config"}
_NO_SIZES = re.compile(r"token_id|theta|eps|version|range|dropout|position|act|dtype|rope|cache|coef|factor|seed")


def _sizes(config: Mapping[str, Any]) -> set[str]:
    """Keys that may be sizes, or choose what is there."""
    return {key for key, value in config.items() if isinstance(value, int) and not _NO_SIZES.search(key)}


def _unsaid(family: Family, given: set[str]) -> set[str]:
    """Sizes of a family that a config leaves open, and that its defaults would fill in."""
    told = given | {key for alias, key in family.aliases.items() if alias in given}
    if family.defaults.get("use_sliding_window") is False and "use_sliding_window" not in given:
        told |= {"sliding_window", "max_window_layers"}  # of a window that is off
    return {
        key
        for key, value in family.defaults.items()
        if isinstance(value, int) and not isinstance(value, bool) and value > 1 and key not in told
        if not _NO_SIZES.search(key)
    }


def marked(record: StaticRecord, model_type: str, like: str, because: str, unknown: str) -> StaticRecord:
    """The record of a known type as the estimate of an unknown one.

    Args:
        because: what says that the one is like the other.
        unknown: why nothing better is known.
    """
    note = f"ESTIMATE: counted as {like}, since {because}; {unknown}"
    model = record.model.model_copy(update={"model_type": model_type})
    return record.model_copy(update={"method": "estimated", "model": model, "assumptions": (note, *record.assumptions)})
