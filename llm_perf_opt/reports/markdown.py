"""Documents as Markdown."""

from __future__ import annotations

from llm_perf_opt.escaping import as_block, as_inline, as_line
from llm_perf_opt.reports.document import (
    Block,
    Chart,
    Command,
    Document,
    Gallery,
    Items,
    Lead,
    Paragraph,
    Table,
    Verbatim,
)


def to_markdown(document: Document) -> str:
    parts = [f"# {as_inline(document.title)}"]
    if document.badges:
        parts.append(as_line(" · ".join(map(str, document.badges))))
    for section in document.sections:
        parts.append(f"## {as_inline(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph() | Lead():
            found = as_line(block.text)
        case Items():
            found = "\n".join(f"- {as_line(item)}" for item in block.items)
        case Verbatim() | Command():
            found = as_block(block.text)
        case Gallery():
            found = "\n\n".join(map(_block, block.plain()))
        case Chart():
            note = [as_line(block.note)] if block.note else []
            found = "\n\n".join([*map(_block, block.plain()), *note])
        case Table():
            found = _table(block)
        case _:
            raise TypeError(f"a block of a report is none of ours: {type(block).__name__}")
    return found


def _table(table: Table) -> str:
    rule = ["---:" if index in table.numeric else "---" for index in range(len(table.columns))]
    lines = [tuple(as_inline(name) for name in table.columns), tuple(rule)]
    lines += [tuple(as_inline(cell) for cell in row) for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
