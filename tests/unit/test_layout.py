"""Every file name of a run directory is written in `artifacts/layout.py` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from llm_perf_opt.artifacts import layout

ROOT = Path(layout.__file__).parents[1]
HERE = Path(layout.__file__)
NAMES = {name for name in vars(layout).values() if isinstance(name, str) and Path(name).suffix and "/" not in name}
NOT_OF_A_RUN = {
    ("config/presets.py", layout.CONFIG): "the entry file of the presets",
    ("cli/kernel_analysis.py", layout.KERNELS): "a report about several runs",
    ("workload/building.py", layout.AB): "the end of vocab.json",
    ("formats/ncu_rep.py", layout.RAW): "a command for the reader",
    ("formats/ncu_rep.py", layout.NCU_REPORT): "a command for the reader",
}


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module but for its documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_there_are_names() -> None:
    assert {"run.json", "workload.json", "facts.json", "run.nsys-rep"} <= NAMES


def test_no_other_module_writes_a_file_name() -> None:
    wrong = {}
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        found = set(strings(ast.parse(path.read_text(encoding="utf-8"))))
        if relative.startswith("cli/"):  # help texts show names in examples
            written = found & NAMES
        else:
            written = {name for name in NAMES if any(name in string for string in found)}
        if path != HERE and (names := {name for name in written if (relative, name) not in NOT_OF_A_RUN}):
            wrong[relative] = names
    assert wrong == {}
