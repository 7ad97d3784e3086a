"""What a model is, told from its `config.json` before anything is loaded: which adapter runs it, or why none does.

The tables are those of the installed transformers, read from its source: importing them would import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llm_perf_opt.analysis.static.auto_classes import auto_classes
from llm_perf_opt.errors import ConfigError

TEXT, IMAGE_TEXT = "CAUSAL_LM", "IMAGE_TEXT_TO_TEXT"
"""Names of the tables of what `causal_lm` and `image_text` load."""
_AUTO_CLASS = {TEXT: "AutoModelForCausalLM", IMAGE_TEXT: "AutoModelForImageTextToText"}
_OTHER_HEAD = re.compile(r"Reward|Classification|Embedding|QuestionAnswering|MaskedLM|MultipleChoice|Retrieval")

# The family whose tower is a SAM and an encoder behind it, in transformers' own classes.
_OWN_ADAPTERS = {"deepseek_ocr2": "deepseek_ocr2", "unlimited_ocr": "image_text"}


def adapter_for(config: Mapping[str, Any], where: str) -> str:
    """Name of the adapter of a model with this `config.json`.

    Raises:
        ConfigError: it generates no text from text or images, or nothing here loads it.
    """
    model_type = _model_type(config, where)
    if model_type == "deepseek_vl_v2" and "DeepseekOCR" in str(config.get("architectures")):
        return "deepseek_ocr"
    if model_type in _OWN_ADAPTERS:
        return _OWN_ADAPTERS[model_type]
    kinds = [kind for kind in (IMAGE_TEXT, TEXT) if model_type in auto_classes()[kind] or _is_remote(config, kind)]
    # Of a type that is in both tables, what is made of parts is the whole model.
    reads_images = any(
        isinstance(value, Mapping) and ("vision" in key or key == "text_config") for key, value in config.items()
    )
    if IMAGE_TEXT in kinds and (reads_images or TEXT not in kinds):
        check_runs(config, IMAGE_TEXT, where)
        return "image_text"
    check_runs(config, TEXT, where)
    return "causal_lm"


def check_runs(config: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse a model that does not generate its text from its prompt alone, or is not of `kind`.

    Raises:
        ConfigError: it is an encoder, an encoder with a decoder, a checkpoint with another head, or unknown.
    """
    model_type = _model_type(config, where)
    if _is_remote(config, kind):
        return
    tables = auto_classes()
    known = tables[kind]
    named = config.get("architectures")
    heads = [str(name) for name in named] if isinstance(named, list) else []
    _check_decoder(config, model_type, heads, where)
    if model_type not in known:
        raise ConfigError(f"{where}: {_unknown(model_type, kind)}", _remedy(model_type))
    own = known[model_type]
    wanted = set(own) if isinstance(own, tuple) else {own}
    others = {
        name
        for head, table in tables.items()
        if head not in (TEXT, IMAGE_TEXT, "PRETRAINING", "MULTIMODAL_LM")
        for each in table.values()
        for name in (each if isinstance(each, tuple) else (each,))
    }
    if heads and not wanted & set(heads) and any(head in others or _OTHER_HEAD.search(head) for head in heads):
        raise ConfigError(
            f"{where}: the checkpoint is a {', '.join(heads)}, which has no head that makes text",
            f"give a checkpoint of {' or '.join(sorted(wanted))}",
        )


def _check_decoder(config: Mapping[str, Any], model_type: str, heads: list[str], where: str) -> None:
    tables = auto_classes()
    two_parts = {**tables["SEQ_TO_SEQ_CAUSAL_LM"], **tables["SPEECH_SEQ_2_SEQ"]}
    decoder_alone = config.get("is_encoder_decoder") is False and any("CausalLM" in head for head in heads)
    if config.get("is_encoder_decoder") is True or (model_type in two_parts and not decoder_alone):
        raise ConfigError(
            f"{where}: a {model_type} model has an encoder before its decoder, or reads sound; llmperf runs neither",
            "give a decoder-only language model, or one that reads images and text",
        )
    if model_type in tables["MASKED_LM"] and config.get("is_decoder") is not True:
        raise ConfigError(
            f"{where}: a {model_type} model is an encoder: it generates no text",
            "give a decoder-only language model, or one that reads images and text",
        )


def _unknown(model_type: str, kind: str) -> str:
    what = "text" if kind == TEXT else "images and text"
    if any(model_type in table for table in auto_classes().values()):
        return f"a {model_type} model generates no text from {what}: transformers has no {_AUTO_CLASS[kind]} for it"
    return f"the installed transformers knows no model type {model_type!r}"


def _remedy(model_type: str) -> str:
    if any(model_type in table for table in auto_classes().values()):
        return "name the adapter that runs it in model.name, or give a language model"
    return "install a transformers that has it"


def _model_type(config: Mapping[str, Any], where: str) -> str:
    found = config.get("model_type")
    if not isinstance(found, str) or not found:
        raise ConfigError(f"{where}: it names no model_type", "restore config.json, or set model.name")
    return found


def _is_remote(config: Mapping[str, Any], kind: str) -> bool:
    """Whether the classes are Python code beside the weights; the adapter says then that it must be allowed to run."""
    auto_map = config.get("auto_map")
    known = config.get("model_type") in auto_classes()[kind]
    return isinstance(auto_map, Mapping) and _AUTO_CLASS[kind] in auto_map and not known
