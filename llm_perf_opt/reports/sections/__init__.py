"""The sections of a run's report, one file each.

A file here exports `section(facts) -> Section | None` (None where the run holds nothing for it) and `ORDER`, its place.
Adding a section is adding a file. A defect in one costs that one alone: the report says where it is missing.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from llm_perf_opt.reports.attempt import Defect, defect_of
from llm_perf_opt.reports.document import Document, Paragraph, Section
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.markdown import to_markdown


def build_sections(facts: RunFacts, defects: list[Defect] | None = None) -> tuple[Section, ...]:
    """All sections that have something to say, by their ORDER.

    Args:
        defects: is given what was wrong with the sections that could not be made.
    """
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    ordered = sorted(modules, key=lambda module: int(module.ORDER))
    built = (_attempt(module, facts, [] if defects is None else defects) for module in ordered)
    return tuple(section for section in built if section is not None)


def _attempt(module: ModuleType, facts: RunFacts, defects: list[Defect]) -> Section | None:
    name = module.__name__.rpartition(".")[2]
    try:
        section: Section | None = module.section(facts)
        if section is not None:
            to_markdown(Document("", (section,)))  # what cannot be rendered would cost the whole report
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the boundary of a section: the others are written all the same
        defects.append(defect_of(error, f"the section {name} of the report", 0))
        return Section(name.capitalize(), (Paragraph(defects[-1].message),))
    return section
