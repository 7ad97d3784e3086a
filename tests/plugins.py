"""Third parties' distributions, as small as they can be: a folder to put on the path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_distribution(
    folder: Path,
    source: str,
    *,
    entry_points: Mapping[str, Mapping[str, str]],
    name: str = "llmperf-thing",
    module: str = "llmperf_thing",
    version: str = "1.2",
) -> Path:
    """Install a distribution with one module into `folder`; the folder.

    Args:
        entry_points: group → name → object of the module.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines: list[str] = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {module}:{target}" for point, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


STAGE_SOURCE = '''
from llm_perf_opt.config.base import Count, StageSettings
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage


class Thing(StageSettings):
    """A thing."""

    top: Count = 10
    """How many."""


def execute(context):
    context.output_dir.mkdir(parents=True)
    (context.output_dir / "thing.txt").write_text(str(context.settings.top))
    return Outcome.completed()


STAGE = Stage(settings=Thing, needs="nothing", execute=execute)
'''
"""A well-behaved stage that needs no model."""
