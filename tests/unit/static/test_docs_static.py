"""The pages on static analysis say what the code computes."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.family_list import families_page
from llm_perf_opt.records.static import StaticRequest
from tests.unit.static.configs import LLAMA_31_8B

DOCS = Path(__file__).parents[3] / "docs" / "static"
_ROW = re.compile(r"^\| (?P<term>[^|]+) \| `(?P<formula>[^`]+)` \| (?P<value>[\d,]+) \|")
_TOTAL = re.compile(r"^\| \*\*(?P<term>[^*]+)\*\* \| \| \*\*(?P<value>[\d,]+)\*\* \|")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def value_of(formula: str) -> int:
    """The value of an arithmetic expression of whole numbers."""

    def walk(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        assert isinstance(node, ast.Constant)
        assert isinstance(node.value, int)
        return node.value

    return walk(ast.parse(formula, mode="eval").body)


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("page", ["worked-example.md", "approximations.md"])
def test_every_formula_has_the_value_beside_it(page: str) -> None:
    rows = [match for line in (DOCS / page).read_text().splitlines() if (match := _ROW.match(line))]
    assert rows
    for row in rows:
        assert value_of(row["formula"]) == number(row["value"]), row["term"]


def test_the_sums_are_those_of_the_code() -> None:
    totals: dict[str, int] = {}
    running = 0
    for line in (DOCS / "worked-example.md").read_text().splitlines():
        if line.startswith("## "):
            running = 0
        if row := _ROW.match(line):
            running += number(row["value"])
        if total := _TOTAL.match(line):
            totals[total["term"]] = number(total["value"])
            assert running == totals[total["term"]], total["term"]
    record = analyze(LLAMA_31_8B, StaticRequest(attention_flops="full", logits="all"))
    prefill, decode = record.phases.prefill, record.phases.decode
    assert prefill is not None
    assert decode is not None
    assert totals == {
        "parameters": record.model.parameters,
        "prefill": prefill.flops,
        "decode": decode.flops,
        "bytes": decode.bytes,
    }
    causal = analyze(LLAMA_31_8B).phases.prefill
    assert causal is not None
    page = (DOCS / "worked-example.md").read_text()
    assert f"{causal.by_module['layers.self_attn.attention'].flops:,}" in page


def test_the_list_of_families_is_generated() -> None:
    assert (DOCS / "families.md").read_text() == families_page()
