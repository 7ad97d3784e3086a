"""What each setting means: the text below its field in the source, its type in words, its default."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llm_perf_opt.config.base import Settings
from llm_perf_opt.config.keys import section_of, walk
from llm_perf_opt.config.pipeline import TEXTS, Pipeline
from llm_perf_opt.config.schema import Config


class Description(NamedTuple):
    """One setting or section."""

    path: tuple[str, ...]
    text: str
    type: str
    """In words; `section` for a section."""
    default: Any
    """As YAML would hold it; meaningless for a section."""

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_section(self) -> bool:
        return self.type == "section"


@functools.cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    """(class name, field name) → the string below the field, of the classes of a module."""
    found = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.ClassDef):
            for field, below in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    text = _string(below)
                    if text is not None:
                        found[node.name, field.target.id] = " ".join(text.split())
    return found


def _string(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def field_text(model: type[Settings], name: str) -> str:
    """The description of a field; that of a stage's section is the first paragraph of its model's docstring.

    Raises:
        KeyError: the field has none.
    """
    section = section_of(model.model_fields[name])
    if model is Pipeline:
        return TEXTS[name] if name in TEXTS else " ".join((section.__doc__ or "").split("\n\n")[0].split())
    for base in model.__mro__:
        if base.__module__ in sys.modules and issubclass(base, Settings) and base is not Settings:
            found = _texts(base.__module__).get((base.__name__, name))
            if found is not None:
                return found
    raise KeyError(f"{model.__name__}.{name} has no description below it")


def descriptions() -> tuple[Description, ...]:
    """Every section and setting, in the order of the schema."""
    owners: dict[tuple[str, ...], type[Settings]] = {(): Config}
    found = []
    for path, field in walk():
        text = field_text(owners[path[:-1]], path[-1])
        section = section_of(field)
        if section is not None:
            owners[path] = section
            found.append(Description(path, text, "section", None))
        else:
            found.append(Description(path, text, type_words(field), default_of(field)))
    return tuple(found)


def default_of(field: FieldInfo) -> Any:
    """The default as YAML would hold it."""
    value = field.default
    if value is PydanticUndefined:
        value = field.default_factory() if field.default_factory is not None else None  # type: ignore[call-arg]
    return list(value) if isinstance(value, tuple) else value


def type_words(field: FieldInfo) -> str:
    """The type of a setting in the words of its errors: `integer ≥ 1, or null`."""
    return _words(field.annotation, tuple(field.metadata))


_PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "anything"}


def _words(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], (*arguments[1:], *metadata))
    if origin in (Union, types.UnionType):
        names = [_words(part, metadata) for part in arguments if part is not type(None)]
        if type(None) in arguments:
            names.append("null")
        return ", or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, dict):
        return f"list of {_words(arguments[0])}" if origin is tuple else "mapping"
    return _PLAIN[annotation] + _bounds(metadata)


def _bounds(metadata: tuple[Any, ...]) -> str:
    parts = []
    for item in metadata:
        inner = item.metadata if isinstance(item, FieldInfo) else (item,)
        for bound in inner:
            if isinstance(bound, Ge):
                parts.append(f"≥ {bound.ge}")
            elif isinstance(bound, Gt):
                parts.append(f"> {bound.gt}")
            elif isinstance(bound, Le):
                parts.append(f"≤ {bound.le}")
    return f" {' and '.join(parts)}" if parts else ""  # a MinLen is said of the list, not of its items
