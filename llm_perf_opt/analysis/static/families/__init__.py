"""One file per model family; a file here that exports `FAMILIES` is found without being listed anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from llm_perf_opt.analysis.static.description import Family


@cache
def _files() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _families(file: str) -> tuple[Family, ...]:
    families: tuple[Family, ...] = getattr(_module(file), "FAMILIES", ())
    return families


def every_family() -> Iterator[Family]:
    """All families, in order of their files."""
    for file in _files():
        yield from _families(file)


@cache
def find_family(model_type: str) -> Family | None:
    """The family of a model type. A file of that name is looked at first, so that the usual case imports one."""
    files = sorted(_files(), key=lambda file: (not model_type.startswith(file), -len(file), file))
    for file in files:
        for family in _families(file):
            if family.model_type == model_type:
                return family
    return None
