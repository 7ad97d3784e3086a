"""Documents as one HTML file that asks nothing of any other: styles, script, data and pictures are in it.

A policy (Content-Security-Policy) lets the browser run and apply that one script and those styles, by their digests,
and fetch nothing. Text stays text: in the page it is escaped, in the data of the script it is JSON, and the script puts
it into the page as text alone. Every chart has its tables behind it, which are all there is without the script.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from html import escape as escape_html
from importlib import resources
from types import MappingProxyType

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import (
    Badge,
    Block,
    Chart,
    Command,
    Document,
    Gallery,
    Items,
    Lead,
    Paragraph,
    Section,
    Shown,
    Table,
    Verbatim,
)
from llm_perf_opt.reports.page_data import embed
from llm_perf_opt.reports.terminal_text import shorten

LONGEST_CELL, LONGEST_LINE, LONGEST_TEXT = 300, 4_000, 20_000
"""Characters shown of one text; a longer one loses its middle."""
MOST_ROWS = 200
"""Of a plain table: a page stays below half a megabyte, whatever it is of."""
_SHORT = 16
"""Characters of a cell that is kept on one line."""
_MANY = 10
"""Columns; a table of more is set smaller on paper."""
_AFTER_A_PART = re.compile(r"(?<=[a-z][._])(?=[a-z])")


def escape(text: str, longest: int = LONGEST_LINE) -> str:
    return escape_html(visible(text if len(text) <= longest else shorten(text, longest)))


def to_html(document: Document) -> str:
    title = escape(document.title)
    names = _names(document.sections)
    places = dict(zip((section.title for section in document.sections), names, strict=True))
    body = [
        f"<header><h1>{title}</h1>{_badges(document.badges)}{_contents(document.sections, names)}</header>",
        "<main>",
    ]
    drawn = embed([block for section in document.sections for block in section.blocks if isinstance(block, Chart)])
    charts = iter(drawn)
    for section, name in zip(document.sections, names, strict=True):
        body.append(f'<section id="{name}"><h2>{escape(section.title)}</h2>')
        body += [
            _chart(*next(charts)) if isinstance(block, Chart) else _block(block, places) for block in section.blocks
        ]
        body.append("</section>")
    page = "\n".join([*body, "</main>"])
    script = _script(tuple(sorted({chart.KIND for chart, _ in drawn})))
    style = _file("page.css")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>\n<body>\n{page}\n<script>{script}</script></body></html>\n"
    )


def _policy(script: str, style: str) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _script(kinds: tuple[str, ...]) -> str:
    """Ours, hand-made: what is common, then what draws each kind that the page has."""
    parts = "\n".join(_file(f"{name}.js") for name in ("core", *kinds, "start"))
    return f"(() => {{\n{parts}}})();"


@cache
def _file(name: str) -> str:
    return (resources.files("llm_perf_opt.reports") / "page" / name).read_text(encoding="utf-8")


def _badges(badges: tuple[Badge, ...]) -> str:
    kinds = {True: ' class="good"', False: ' class="bad"', None: ""}
    found = "".join(f"<li{kinds[badge.good]}>{escape(str(badge), LONGEST_CELL)}</li>" for badge in badges)
    return f'<ul class="badges">{found}</ul>' if found else ""


def _names(sections: tuple[Section, ...]) -> list[str]:
    """What links call each section."""
    names: list[str] = []
    for section in sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:40] or "part"
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


def _contents(sections: tuple[Section, ...], names: list[str]) -> str:
    if len(sections) < 4:
        return ""
    links = "".join(
        f'<li><a href="#{name}">{escape(section.title)}</a></li>' for section, name in zip(sections, names, strict=True)
    )
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _chart(chart: Chart, data: str) -> str:
    note = f"<figcaption>{escape(chart.note)}</figcaption>" if chart.note else ""
    behind = "".join(map(_block, chart.plain()))
    return (
        f'<figure class="chart" data-kind="{chart.KIND}" aria-label="{escape(chart.title)}">{note}'
        f"<details open><summary>As a table: {escape(chart.title)}</summary>{behind}</details>"
        f"{data}</figure>"
    )


Places = Mapping[str, str]
"""Title of a section → what links call it."""


def _block(block: Block, places: Places = MappingProxyType({})) -> str:
    match block:
        case Paragraph():
            found = f"<p>{escape(block.text)}</p>"
        case Lead():
            found = f'<p class="lead">{escape(block.text)}</p>'
        case Items():
            found = _items(block, places)
        case Verbatim():
            found = f"<pre>{escape(block.text, LONGEST_TEXT)}</pre>"
        case Command():
            found = f'<div class="command"><pre><code>{escape(block.text, LONGEST_TEXT)}</code></pre></div>'
        case Gallery():
            found = f'<div class="gallery">{"".join(map(_shown, block.shown))}</div>'
        case Table():
            found = _table(block)
        case _:
            raise TypeError(f"a block of a page is none of ours: {type(block).__name__}")
    return found


def _items(items: Items, places: Places) -> str:
    links = [
        f' <a href="#{places[title]}">Evidence: {escape(title)}</a>' if title is not None and title in places else ""
        for title in items.evidence
    ] or [""] * len(items.items)
    lines = (f"<li>{escape(item)}{link}</li>" for item, link in zip(items.items, links, strict=True))
    return f"<ul>{''.join(lines)}</ul>"


def _shown(shown: Shown) -> str:
    picture = ""
    if shown.picture is not None:
        source = base64.b64encode(shown.picture).decode()
        picture = f'<img src="data:image/jpeg;base64,{source}" alt="{escape(shown.title, LONGEST_CELL)}">'
    text = ""
    if shown.text is not None:
        text = f"<details><summary>Text</summary><pre>{escape(shown.text, LONGEST_TEXT) or '(nothing)'}</pre></details>"
    caption = f"<b>{escape(shown.title, LONGEST_CELL)}</b> {escape(shown.caption)}"
    return f"<figure>{picture}<figcaption>{caption}</figcaption>{text}</figure>"


def _table(table: Table) -> str:
    kinds = [_kind(table, index) for index in range(len(table.columns))]
    head = "".join(
        # A long name of a figure may be broken between its parts.
        f'<th scope="col"{kind}>{_AFTER_A_PART.sub("<wbr>", escape(name))}</th>'
        for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = (f"<tr>{''.join(_cells(row, kinds))}</tr>" for row in table.rows[:MOST_ROWS])
    left = len(table.rows) - MOST_ROWS
    more = f"<p>{left:,} more rows are in the Markdown beside this page.</p>" if left > 0 else ""
    many = ' class="many"' if len(table.columns) > _MANY else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    found = f'<div class="wide"><table{many}>{body}</table></div>{more}'
    return f"<details><summary>{escape(table.folded)}</summary>{found}</details>" if table.folded else found


def _kind(table: Table, index: int) -> str:
    """The class of a column: numbers, or words that are too short to be broken."""
    if index in table.numeric:
        return ' class="n"'
    return ' class="c"' if all(len(row[index]) <= _SHORT for row in table.rows[:MOST_ROWS]) else ""


def _cells(row: tuple[str, ...], kinds: list[str]) -> Iterator[str]:
    return (f"<td{kind}>{escape(cell, LONGEST_CELL)}</td>" for cell, kind in zip(row, kinds, strict=True))
