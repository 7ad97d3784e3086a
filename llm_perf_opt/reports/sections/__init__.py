"""The sections of a run's report, one file each.

A file here exports `section(facts) -> Section | None` (None where the run holds nothing for it) and `ORDER`, its place.
Adding a section is adding a file.
"""

from __future__ import annotations

import importlib
import pkgutil

from llm_perf_opt.reports.document import Section
from llm_perf_opt.reports.facts import RunFacts


def build_sections(facts: RunFacts) -> tuple[Section, ...]:
    """All sections that have something to say, by their ORDER."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    built = (module.section(facts) for module in sorted(modules, key=lambda module: int(module.ORDER)))
    return tuple(section for section in built if section is not None)
