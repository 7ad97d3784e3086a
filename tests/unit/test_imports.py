"""The direction of imports, and what the parent process must not import."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm_perf_opt.registry import STAGES

PACKAGE = "llm_perf_opt"
ROOT = Path(__file__).parents[2] / PACKAGE

# Each room may import itself and the rooms it names: data goes one way.
FOUNDATION = {"errors", "opening", "redact", "escaping", "nearest", "registry"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "opening": set(),
    "redact": set(),
    "escaping": set(),
    "nearest": set(),
    "short_lived": set(),
    "registry": {"errors", "nearest"},
    "config": {"errors", "opening", "redact", "nearest", "registry"},
    "plan": {"errors", "records", "config"},
    "records": {"errors", "opening"},
    "artifacts": {"errors", "opening", "redact", "records"},
    "formats": {"errors", "opening", "records"},
    "tools": {"errors", "redact", "records"},
    "hardware": {"errors", "redact", "records"},
    "analysis": {"errors", "opening", "nearest", "short_lived", "registry", "records", "config", "hardware"},
    "captures": {"errors", "opening", "redact", "nearest", "registry", "records", "config", "artifacts", "formats"}
    | {"analysis"},
    "workload": {"errors", "opening", "escaping", "registry", "records", "config", "hardware", "artifacts", "analysis"},
    "stages": {
        "errors",
        "opening",
        "redact",
        "nearest",
        "registry",
        "records",
        "config",
        "artifacts",
        "plan",
        "tools",
        "hardware",
        "analysis",
    }
    | {"workload", "formats", "captures", "short_lived"},
    "reports": {"errors", "opening", "escaping", "registry", "records", "config", "artifacts", "analysis", "stages"},
    "runner": {"errors", "redact", "records", "artifacts", "stages", "reports"},
    "run": {*FOUNDATION, "records", "config", "artifacts", "hardware", "plan", "workload", "stages", "runner"},
    "sweep": {*FOUNDATION, "records", "config", "artifacts", "hardware", "tools", "plan", "analysis", "workload"}
    | {"stages", "run"},
    "importing": {*FOUNDATION, "records", "artifacts", "formats", "captures", "tools", "stages", "runner"},
    "ab": {*FOUNDATION, "records", "config", "artifacts", "plan", "analysis", "workload", "stages", "reports"}
    | {"run", "runner"},
    "cli": {*FOUNDATION, "records", "config", "artifacts", "hardware", "tools", "plan", "analysis", "workload"}
    | {"stages", "reports", "run", "runner", "importing", "captures", "ab", "sweep"},
}
HEAVY = {"torch", "transformers", "numpy", "pyarrow", "rich", "tokenizers", "PIL", "nvtx", "accelerate"}
# Modules that run in a child, where the model is.
IN_THE_CHILD = re.compile(r"workload/|analysis/traced|stages/\w+/child\w*\.py")
# Modules of the time line, which only commands that read a capture import, and not at their start.
IN_COLUMNS = re.compile(
    r"records/(columns|factor)\.py|analysis/timeline/|formats/(nsys_events|nsys_about|nsys_counters|nsys_graphs|sqlite_columns|sqlite_pages|torch_events)\.py"
    r"|captures/(timeline|trace|kernel_choice|ranks|nsys_left|nsys_ranks|nsys_reports)\.py"
)
# What importing a stage's own file, which the configuration does, may import.
LIGHT = {"artifacts.layout", "config.base", "errors", "registry", "stages.base"}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def at_import(tree: ast.Module) -> Iterator[str]:
    """What importing a module imports; not what its functions do."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)


def offenders(paths: Iterable[Path], wrong: Callable[[Path], set[str]]) -> dict[str, set[str]]:
    """What each file has that it should not; files without it left out."""
    return {path.relative_to(ROOT).as_posix(): found for path in paths if (found := wrong(path))}


@functools.cache
def names_of(path: Path) -> list[str]:
    return imported(parsed(path))


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


# Names alone, which any room may use.
LAYOUT = f"{PACKAGE}.artifacts.layout"


def test_every_room_is_listed() -> None:
    assert {room(path) for path in sources()} - {"__init__"} == set(MAY_IMPORT)


def test_imports_go_one_way() -> None:
    def wrong(path: Path) -> set[str]:
        here = room(path)
        names = [name.split(".") for name in names_of(path) if name != LAYOUT]
        rooms = {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1} - {here, "__version__"}
        return rooms - MAY_IMPORT.get(here, set())

    assert offenders(sources(), wrong) == {}


def test_the_layout_imports_nothing_of_ours() -> None:
    assert not [name for name in names_of(ROOT / "artifacts" / "layout.py") if name.startswith(PACKAGE)]


def test_drawings_are_made_by_the_page_alone() -> None:
    assert not [path for path in sources() if "<svg" in path.read_text(encoding="utf-8")]
    charts, scripts = (
        {path.stem for path in (ROOT / "reports" / room).glob(f"*{ending}")}
        for room, ending in (("charts", ".py"), ("page", ".js"))
    )
    assert scripts - {"core", "start"} == charts - {"__init__", "dots"}


def test_the_parent_imports_nothing_heavy_at_module_level() -> None:
    def wrong(path: Path) -> set[str]:
        relative = path.relative_to(ROOT).as_posix()
        if IN_THE_CHILD.match(relative) or IN_COLUMNS.match(relative):
            return set()
        return {name.split(".")[0] for name in at_import(parsed(path))} & HEAVY

    assert offenders(sources(), wrong) == {}


def stage_modules() -> list[Path]:
    return sorted((ROOT / "stages").rglob("*.py"))


def declarations() -> list[Path]:
    """The file that each stage of the registry is found in, and its settings."""
    found = [ROOT / "stages" / "base.py"]
    for module in STAGES.modules:
        at = ROOT.parent / Path(*module.split("."))
        found += [at / "__init__.py", *at.glob("settings.py")] if at.is_dir() else [at.with_suffix(".py")]
    return found


def test_a_stage_imports_no_other_stage() -> None:
    rooms = {module.parent.name for module in stage_modules()} - {"stages"}

    def wrong(path: Path) -> set[str]:
        names = [name.split(".") for name in names_of(path)]
        others = {parts[2] for parts in names if parts[:2] == [PACKAGE, "stages"] and len(parts) > 2} & rooms
        return others - {path.parent.name}

    assert offenders(stage_modules(), wrong) == {}


def test_what_a_stage_declares_is_light() -> None:
    def wrong(path: Path) -> set[str]:
        own = f"{PACKAGE}.stages.{path.parent.name}.settings"
        names = {name for name in at_import(parsed(path)) if name.startswith(PACKAGE)}
        return {name.removeprefix(f"{PACKAGE}.") for name in names - {own}} - LIGHT

    assert offenders(declarations(), wrong) == {}


def test_reports_import_of_stages_what_they_declare() -> None:
    def wrong(path: Path) -> set[str]:
        of_stages = {
            name.removeprefix(f"{PACKAGE}.stages.") for name in names_of(path) if name.startswith(f"{PACKAGE}.stages.")
        }
        declared = {name for name in of_stages if re.fullmatch(r"base|\w+(\.settings)?", name)}
        return (of_stages - declared) | (of_stages & {"child", "enabled", "timed", "wrapped"})

    assert offenders(sorted((ROOT / "reports").rglob("*.py")), wrong) == {}
