"""Tables on a terminal of any width: nothing sticks out, no number is broken, every row is there."""

from __future__ import annotations

import io
import re
import string

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len  # a second opinion on widths

from llm_perf_opt.reports.document import Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.terminal import UNFOLDED, print_document
from llm_perf_opt.reports.terminal_table import table_lines
from llm_perf_opt.reports.terminal_text import shorten, wrap

WORD = st.text(string.ascii_lowercase, min_size=1, max_size=12)
WORDS = st.lists(WORD, min_size=1, max_size=8).map(" ".join)
NAME = st.text(string.ascii_letters + "_:<>,.() 核卷", min_size=1, max_size=90)
NUMBER = st.tuples(
    st.integers(0, 10**12), st.sampled_from(["{:,}", "{} ms", "+{:,} %", "{} to +7 %", "1.{}e-05", "{} MiB"])
).map(lambda drawn: drawn[1].format(drawn[0]))
CELLS = {"number": NUMBER, "name": NAME, "prose": WORDS}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any columns, and one of ids by which rows are found again."""
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), max_size=8))
    ids = draw(st.integers(0, len(kinds)))
    count = draw(st.integers(0, 5))
    columns = [draw(WORDS) for _ in kinds]
    rows = [[draw(CELLS[kind]) for kind in kinds] for _ in range(count)]
    for number, row in enumerate(rows):
        row.insert(ids, f"#{number}#")
    kinds.insert(ids, "number")
    columns.insert(ids, "id")
    return Table(
        tuple(columns),
        tuple(map(tuple, rows)),
        numeric=frozenset(index for index, kind in enumerate(kinds) if kind == "number"),
        names=frozenset(index for index, kind in enumerate(kinds) if kind == "name"),
        important=tuple(draw(st.permutations(range(len(kinds))))[: draw(st.integers(0, len(kinds)))]),
    )


@given(tables(), st.integers(40, 200))
def test_no_line_is_too_wide_and_no_number_is_broken(table: Table, width: int) -> None:
    header, lines = table_lines(table, width)
    assert max(map(cell_len, [*header, *lines])) <= width
    starts = [re.findall(r"#(\d)#", line) for line in lines]
    assert [int(found) for line in starts for found in line] == list(range(len(table.rows)))
    for index in table.numeric:
        for row in table.rows:
            assert any(re.search(rf"(?<!\S){re.escape(row[index])}(?!\S)", line) for line in lines), row[index]


@given(tables(), st.integers(40, 200))
def test_every_column_and_every_word_is_there(table: Table, width: int) -> None:
    if not table.rows:
        return
    header, lines = table_lines(table, width)
    shown = " ".join(" ".join([*header, *lines]).replace(":", " ").split()).split()
    prose = set(range(len(table.columns))) - table.numeric - table.names
    wanted = [*table.columns, *(row[index] for row in table.rows for index in prose)]
    assert {word for text in wanted for word in text.split()} <= set(shown)


@given(tables())
def test_without_a_terminal_every_row_is_a_line_with_all_of_it(table: Table) -> None:
    _, lines = table_lines(table, UNFOLDED)
    assert len(lines) == len(table.rows)
    for line, row in zip(lines, table.rows, strict=True):
        assert all(" ".join(cell.split()) in line for cell in row)


@given(NAME, st.integers(1, 60))
def test_a_name_loses_its_middle_only(name: str, width: int) -> None:
    short = shorten(name, width)
    assert cell_len(short) <= width
    if short != name:
        head, tail = short.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert cell_len(head) >= cell_len(tail) - 1
        assert cell_len(short) >= width - 2  # a wide character may not fit beside the ellipsis on either side


@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=30), max_size=12), st.integers(5, 50))
def test_wrapping_keeps_the_text(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), width)
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(words)
    assert all(word in " ".join(lines).split() for word in words if len(word) <= width)


KERNELS = Table(
    ("#", "kernel", "class", "SM %", "DRAM %", "µs"),
    tuple(
        (
            at,
            f"void kernel{at}<128, 4, at::native::CUDAFunctor_add<float>>(int)",
            "latency-bound",
            "9.61",
            "20.5",
            "6.5",
        )
        for at in ("1", "2")
    ),
    numeric=frozenset({0, 3, 4, 5}),
    names=frozenset({1}),
    important=(0, 1, 5, 2),
)


def test_what_is_less_important_goes_below() -> None:
    header, lines = table_lines(KERNELS, 54)
    assert header[0].split() == ["#", "kernel", "class", "µs"]
    assert lines[:2] == [
        "1  void kernel1<12…dd<float>>(int)  latency-bound  6.5",
        "    SM %: 9.61 · DRAM %: 20.5",
    ]


def test_columns_that_fit_stay_beside_each_other() -> None:
    header, lines = table_lines(KERNELS, 80)
    assert header[0].split() == ["#", "kernel", "class", "SM", "%", "DRAM", "%", "µs"]
    assert len(lines) == 2


def test_colours_are_for_terminals_and_prose_is_wrapped() -> None:
    document = Document("title", (Section("part", (Paragraph("word " * 20), Items(("item " * 20,)), KERNELS)),))
    shown = {}
    for colours in (True, False):
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        print_document(document, stream, width=60, colours=colours)
        shown[colours] = stream.getvalue()
    assert "\x1b" not in shown[False]
    lines = shown[False].splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line == line.rstrip() for line in lines)
    assert [line[:6] for line in lines if "item" in line] == ["- item", "  item"]
