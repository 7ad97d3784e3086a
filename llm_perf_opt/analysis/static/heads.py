"""Whether a config describes a language model at all: what its `architectures` name, encoders that decode nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_perf_opt.analysis.static.auto_classes import classes_of, encoder_class, is_encoder
from llm_perf_opt.errors import ConfigError

_HEADS = {
    "ForSequenceClassification": "a classifier of whole sequences (a reward model or the like)",
    "ForTokenClassification": "a classifier of tokens",
    "ForQuestionAnswering": "a finder of answers",
    "ForMultipleChoice": "a chooser between answers",
    "ForNextSentencePrediction": "an encoder with a classifier",
    "ForMaskedLM": "an encoder that fills in masked tokens",
    "ForImageClassification": "a classifier of images",
    "ForAudioClassification": "a classifier of audio",
    "RewardModel": "a reward model",
    "EncoderModel": "an encoder",
}


def _head(name: str) -> str | None:
    """What a class name stands for where it is no language model."""
    for ending, what in _HEADS.items():
        if name.endswith(ending):
            return what
    if name.endswith("Model") and not name.endswith("LMHeadModel"):
        return "a model without a language head (embeddings or the like)"
    return None


def no_decoding(name: str) -> str:
    """Why an encoder of this class has no decode step."""
    return f"{name}, {_head(name) or 'an encoder'}: it reads its prompt in one pass; there is no decoder and no cache"


def _check_class(config: Mapping[str, Any], named: list[str], where: str) -> None:
    """Refuse a config whose `architectures` are classes of other model types than its own.

    Raises:
        ConfigError: it is one.
    """
    known, own = classes_of(), config.get("model_type")
    types = {model_type for name in named for model_type in known.get(name, ())}
    has_classes = any(own in types_of for types_of in known.values())
    if has_classes and own not in types and types and all(name in known for name in named):
        raise ConfigError(
            f"{where}: architectures names {', '.join(named)}, of model type {' or '.join(sorted(types))}, and "
            f"model_type is {own}",
            "the two contradict each other: correct the one that is not the weights'",
        )


def check_decoder(config: Mapping[str, Any], where: str) -> None:
    """Refuse a model that generates no text, unless it is an encoder of text, whose one pass is counted.

    Raises:
        ConfigError: the config says that it is such a model.
    """
    remedy = "static analysis counts prefill and decoding of a language model: give one of those"
    names = config.get("architectures")
    named = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    _check_class(config, named, where)
    heads = [_head(name) for name in named]
    if named and all(heads):
        if is_encoder(config) and encoder_class(config):
            return
        raise ConfigError(f"{where}: architectures names {named[0]}, {heads[0]}: there is no decoder to count", remedy)
