"""The direction of imports, and what the parent process must not import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = "llm_perf_opt"
ROOT = Path(__file__).parents[2] / PACKAGE

# Each room may import itself and the rooms it names: data goes one way.
FOUNDATION = {"errors", "redact", "escaping", "__init__"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "redact": set(),
    "escaping": set(),
    "records": {"errors"},
    "config": {"errors"},
    "artifacts": {"errors", "records"},
    "hardware": {"errors", "records", "redact", "tools"},
    "tools": {"errors", "redact", "records", "config"},
    "plan": {"errors", "records", "config"},
    "analysis": {"errors", "records", "config", "hardware", "artifacts"},
    "workload": {"errors", "escaping", "records", "config", "hardware", "artifacts", "analysis"},
    "stages": {"errors", "records", "config", "artifacts", "plan", "tools", "hardware", "analysis", "workload"},
    "reports": {"errors", "escaping", "records", "config", "artifacts", "hardware", "analysis", "plan"},
    "run": {"errors", "records", "config", "artifacts", "hardware", "plan", "workload", "stages", "reports", "redact"},
    "importing": {"errors", "records", "config", "artifacts", "plan", "tools", "analysis", "workload", "stages"}
    | {"redact", "run"},
    "cli": {*FOUNDATION, "records", "config", "artifacts", "hardware", "tools", "plan", "analysis", "workload"}
    | {"stages", "reports", "run", "importing"},
}
HEAVY = {"torch", "transformers", "numpy", "rich", "tokenizers", "PIL", "nvtx", "accelerate"}
# Modules that run in a child, where the model is.
CHILD_ROOMS = ("workload", "analysis/traced")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def test_every_room_is_listed() -> None:
    assert {room(path) for path in sources()} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    here = room(path)
    names = [name.split(".") for name in imported(ast.parse(path.read_text(encoding="utf-8")))]
    rooms = {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1} - {here, "__version__"}
    allowed = MAY_IMPORT.get(here, set())
    assert rooms <= allowed, f"{here} imports {sorted(rooms - allowed)}"


def test_drawings_are_made_in_one_room() -> None:
    drawing = [path for path in sources() if "<svg" in path.read_text(encoding="utf-8")]
    assert {path.parent.relative_to(ROOT).as_posix() for path in drawing} == {"reports/drawing"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_parent_imports_nothing_heavy_at_module_level(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    if relative.startswith(CHILD_ROOMS):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.split(".")[0] for node in top for name in imported(node)}
    assert not names & HEAVY
