"""Documents as Markdown."""

from __future__ import annotations

from urllib.parse import quote

from llm_perf_opt.escaping import as_block, as_inline, as_line
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Picture, Table, Verbatim


def to_markdown(document: Document) -> str:
    parts = [f"# {as_inline(document.title)}"]
    for section in document.sections:
        parts.append(f"## {as_inline(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return as_line(block.text)
    if isinstance(block, Items):
        return "\n".join(f"- {as_line(item)}" for item in block.items)
    if isinstance(block, Verbatim):
        return as_block(block.text)
    if isinstance(block, Picture):
        return f"![{as_inline(block.title)}]({quote(block.file)})"
    return _table(block)


def _table(table: Table) -> str:
    rule = ["---:" if index in table.numeric else "---" for index in range(len(table.columns))]
    lines = [tuple(as_inline(name) for name in table.columns), tuple(rule)]
    lines += [tuple(as_inline(cell) for cell in row) for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
