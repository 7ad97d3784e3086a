"""Documents as one self-contained HTML file: no script, nothing fetched, readable on paper and in the dark."""

from __future__ import annotations

from html import escape as escape_html

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Picture, Table, Verbatim

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #8884; }
h1, p, li, pre { overflow-wrap: anywhere; }
ul { padding-left: 1.4rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.92em; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #8883; text-align: left; vertical-align: top; }
td { max-width: min(34rem, 65vw); overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { white-space: pre-wrap; padding: 0.6rem 0.8rem; background: #8881; font-size: 0.87em; }
@media (max-width: 40rem) { th, td { padding: 0.2rem 0.4rem; } }
"""


def escape(text: str) -> str:
    return escape_html(visible(text))


def to_html(document: Document) -> str:
    title = escape(document.title)
    body = [f"<h1>{title}</h1>"]
    for section in document.sections:
        body.append(f"<section><h2>{escape(section.title)}</h2>")
        body += [_block(block) for block in section.blocks]
        body.append("</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Items):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Verbatim):
        return f"<pre>{escape(block.text)}</pre>"
    if isinstance(block, Picture):
        return f'<div class="wide" aria-label="{escape(block.title)}">{block.svg}</div>'
    return _table(block)


def _table(table: Table) -> str:
    kinds = [' class="n"' if index in table.numeric else "" for index in range(len(table.columns))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(table.columns, kinds, strict=True))
    rows = (
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
