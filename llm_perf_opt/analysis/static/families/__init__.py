"""One file per model family; a file here that exports `FAMILIES` is found without being listed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from llm_perf_opt.analysis.static.description import Family
from llm_perf_opt.registry import FAMILIES


def every_family() -> Iterator[Family]:
    """All families, in order of their files."""
    for _, families in FAMILIES.all(tuple):
        yield from families


@cache
def find_family(model_type: str) -> Family | None:
    """The family of a model type. A file of that name is looked at first, so that the usual case imports one."""
    files = sorted(FAMILIES.builtin(), key=lambda file: (not model_type.startswith(file), -len(file), file))
    for file in files:
        families: tuple[Family, ...] = FAMILIES.get(file, tuple)
        for family in families:
            if family.model_type == model_type:
                return family
    return None
