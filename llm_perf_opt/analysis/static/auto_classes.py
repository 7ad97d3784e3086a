"""Which model types transformers has which classes for: its own tables, read without importing torch."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_TABLE = re.compile(r"MODEL(?:_FOR)?_(?:(?P<head>\w+)_)?MAPPING_NAMES")
ENCODER_HEADS = {
    "MASKED_LM": "AutoModelForMaskedLM",
    "SEQUENCE_CLASSIFICATION": "AutoModelForSequenceClassification",
    "TOKEN_CLASSIFICATION": "AutoModelForTokenClassification",
    "QUESTION_ANSWERING": "AutoModelForQuestionAnswering",
    "PRETRAINING": "AutoModelForPreTraining",
    "NEXT_SENTENCE_PREDICTION": "AutoModelForNextSentencePrediction",
    "BASE": "AutoModel",
}
"""Tables of what an encoder of text is loaded as, and by which class; the first is meant where a config names none."""


@functools.cache
def auto_classes() -> dict[str, dict[str, Any]]:
    """Head → model type → class (or classes), as transformers maps them."""
    spec = find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py"
    found: dict[str, dict[str, Any]] = {}
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = _TABLE.fullmatch(statement.targets[0].id)
            if name is not None and isinstance(statement.value, ast.Call) and statement.value.args:
                pairs = statement.value.args[0]
                assert isinstance(pairs, ast.List)
                # Anything else in the list takes over another table.
                found[name["head"] or "BASE"] = dict(
                    ast.literal_eval(pair) for pair in pairs.elts if isinstance(pair, ast.Tuple)
                )
    return found


@functools.cache
def classes_of() -> dict[str, frozenset[str]]:
    """Class → model types that it is of."""
    found: dict[str, set[str]] = {}
    for table in auto_classes().values():
        for model_type, names in table.items():
            for name in (names,) if isinstance(names, str) else names:
                found.setdefault(name, set()).add(model_type)
    return {name: frozenset(types) for name, types in found.items()}


def is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether a config is of an encoder that reads text and generates none."""
    tables, model_type = auto_classes(), config.get("model_type")
    two_stacks = config.get("is_encoder_decoder") is True or model_type in tables["SEQ_TO_SEQ_CAUSAL_LM"]
    return model_type in tables["MASKED_LM"] and config.get("is_decoder") is not True and not two_stacks


def encoder_class(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """The automatic class and the own class of an encoder: as its config names it, else for masked tokens.

    None where it names another.
    """
    model_type, named = str(config.get("model_type")), config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    for head, automatic in ENCODER_HEADS.items():
        known = auto_classes()[head].get(model_type, ())
        for name in (known,) if isinstance(known, str) else known:
            if first in (None, name):
                return automatic, name
    return None
