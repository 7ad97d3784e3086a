"""The plan by which transformers shards a model type, read from the source of the installed release.

Importing it would import torch; a plan is a literal of the configuration's class, that of the head one of the model's.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_BASE = "base_model_tp_plan"
_HEAD = "_tp_plan"


def tensor_plan(model_type: str) -> Mapping[str, str] | None:
    """Path of a module or parameter below the base model, `*` for a layer's number → how transformers shards it.

    The rule of the head is `lm_head`. None where transformers has no plan for the type.
    """
    found = _plan(model_type)
    return None if found is None else dict(found)


def text_type(config: Mapping[str, Any]) -> str:
    """The model type of the decoder that a `config.json` describes."""
    for part in ("text_config", "language_config", "llm_config"):
        inner = config.get(part)
        if isinstance(inner, Mapping) and isinstance(inner.get("model_type"), str):
            return str(inner["model_type"])
    return str(config["model_type"])


def image_type_with_plan(config: Mapping[str, Any]) -> str | None:
    """The model type of the image path of a `config.json`, where transformers' plan shards that too."""
    images = config.get("vision_config")
    found = images.get("model_type") if isinstance(images, Mapping) else None
    return found if isinstance(found, str) and tensor_plan(found) is not None else None


@functools.cache
def _plan(model_type: str) -> tuple[tuple[str, str], ...] | None:
    for folder in _folders(model_type):
        source = folder / f"configuration_{folder.name}.py"
        classes = _classes(source)
        own = next((name for name in classes if _value(classes, name, "model_type") == model_type), None)
        if own is None:
            continue
        plan = _value(classes, own, _BASE)
        if not plan:
            return None
        # transformers shards the table by rows wherever there is a plan and it does not say otherwise.
        rules = {"embed_tokens": "embedding_rowwise", **plan, **_head_rules(folder)}
        return tuple(rules.items())
    return None


def _folders(model_type: str) -> Iterator[Path]:
    """Where transformers may keep the type: the folder of its name, or of the longest beginning of it."""
    spec = find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    models = Path(spec.origin).parent / "models"
    words = model_type.replace("-", "_").split("_")
    for count in range(len(words), 0, -1):
        folder = models / "_".join(words[:count])
        if (folder / f"configuration_{folder.name}.py").is_file():
            yield folder


def _classes(source: Path) -> dict[str, ast.ClassDef]:
    parsed = ast.parse(source.read_text(encoding="utf-8"))
    return {statement.name: statement for statement in parsed.body if isinstance(statement, ast.ClassDef)}


def _value(classes: Mapping[str, ast.ClassDef], name: str, wanted: str) -> Any:
    """The literal that a class, or a base of it in the same file, gives a name; None where none does."""
    while name in classes:
        for statement in classes[name].body:
            if isinstance(statement, ast.Assign):
                targets, value = statement.targets, statement.value
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                targets, value = [statement.target], statement.value
            else:
                continue
            if any(isinstance(target, ast.Name) and target.id == wanted for target in targets):
                try:
                    return ast.literal_eval(value)
                except ValueError:
                    return None
        bases = [base.id for base in classes[name].bases if isinstance(base, ast.Name)]
        name = next((base for base in bases if base in classes), "")
    return None


def _head_rules(folder: Path) -> dict[str, str]:
    source = folder / f"modeling_{folder.name}.py"
    if not source.is_file():
        return {}
    classes = _classes(source)
    for name in classes:
        if name.endswith("ForCausalLM") and (rules := _value(classes, name, _HEAD)):
            return dict(rules)
    return {}
