"""Which keys there are: the schema walked as a tree of sections and settings."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from llm_perf_opt.config.base import Settings
from llm_perf_opt.config.pipeline import plugin_settings
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import LlmperfError


def section_of(field: FieldInfo) -> type[Settings] | None:
    """The model of a field that is a section, or None for a setting."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return None


def section_at(path: Sequence[str | int]) -> type[Settings] | None:
    """The model at a path, or None where there is no section."""
    model: type[Settings] = Config
    if is_open(path) and len(path) > 2:
        try:
            model, path = plugin_settings(str(path[2])), path[3:]
        except LlmperfError:
            return None
    for part in path:
        field = model.model_fields.get(str(part))
        below = section_of(field) if field is not None else None
        if below is None:
            return None
        model = below
    return model


def field_at(path: Sequence[str | int]) -> FieldInfo | None:
    """The field at a path, or None."""
    if not path:
        return None
    model = section_at(path[:-1])
    return model.model_fields.get(str(path[-1])) if model is not None else None


def is_open(path: Sequence[str | int]) -> bool:
    """Whether any key may stand below `path` (plug-in settings)."""
    return tuple(path[:2]) == ("pipeline", "plugins")


def walk(model: type[Settings] = Config, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every field, sections before what they hold, in the order of the schema."""
    for name, field in model.model_fields.items():
        yield (*path, name), field
        below = section_of(field)
        if below is not None:
            yield from walk(below, (*path, name))


@functools.cache
def all_settings() -> tuple[str, ...]:
    """Dotted path of every setting (not of the sections)."""
    return tuple(".".join(path) for path, field in walk() if section_of(field) is None)


def choices(annotation: Any) -> tuple[str, ...]:
    """The allowed words of a `Literal`, also inside a list or an optional; empty where anything goes."""
    origin = get_origin(annotation)
    if origin is Literal:
        return tuple(str(value) for value in get_args(annotation))
    if origin in (Union, types.UnionType, tuple, Annotated):
        for part in get_args(annotation):
            found = choices(part)
            if found:
                return found
    return ()


def allows_null(field: FieldInfo) -> bool:
    return get_origin(field.annotation) in (Union, types.UnionType) and type(None) in get_args(field.annotation)
