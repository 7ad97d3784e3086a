"""Renderers: what is plain text in a document is plain text on the page, whatever it holds."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.reports.document import Document, Items, Paragraph, Section, Table, Verbatim
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.terminal import UNFOLDED, print_document

EVIL = "<script>alert('x')</script> & \"quoted\" | ![a](http://evil/b.png) `code` *bold*\n# not a heading \x1b[0m"


def document(text: str) -> Document:
    blocks = (Paragraph(text), Items((text, text)), Table((text, "n"), ((text, "1"),), frozenset({1})), Verbatim(text))
    return Document(text, (Section(text, blocks),))


class Tags(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_has_only_our_tags_and_fetches_nothing() -> None:
    page = Tags(to_html(document(EVIL)))
    page_tags = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "script"}
    block_tags = {"p", "ul", "li", "div", "table", "thead", "tbody", "tr", "th", "td", "pre"}
    assert set(page.tags) <= page_tags | block_tags | {"wbr"}
    names = {"lang", "charset", "name", "content", "class", "http-equiv", "id", "scope"}
    assert {name for name, _ in page.attributes} <= names
    assert page.tags.count("script") == 1
    assert "\x1b" not in "".join(page.text)


def test_html_keeps_the_text() -> None:
    assert "".join(Tags(to_html(document(EVIL))).text).count("<script>alert('x')</script>") == 9


@given(st.text(max_size=60))
def test_html_of_any_text_has_the_same_tags(text: str) -> None:
    assert Tags(to_html(document(text))).tags == Tags(to_html(document("plain"))).tags


def test_html_is_one_file_for_print_and_phone() -> None:
    page = to_html(document("x"))
    assert page.startswith("<!doctype html>")
    assert 'name="viewport"' in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")|url\(|@import|<link|\bfetch\(|XMLHttp|innerHTML", page)


def test_the_policy_of_a_page_names_its_own_script_and_styles() -> None:
    page = to_html(document("x"))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy[1].split(";")}
    assert (rules["default-src"], rules["img-src"]) == (["'none'"], ["data:"])
    for kind in ("script", "style"):
        texts = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert rules[f"{kind}-src"] == [f"'sha256-{digest}'" for digest in digests]


def test_html_aligns_numbers() -> None:
    assert '<td class="n">1</td>' in to_html(document("x"))


def test_markdown_shapes() -> None:
    assert to_markdown(document("text")) == (
        "# text\n\n## text\n\ntext\n\n- text\n- text\n\n"
        "| text | n |\n| --- | ---: |\n| text | 1 |\n\n```text\ntext\n```\n"
    )


def test_markdown_takes_no_markup_from_text() -> None:
    page = to_markdown(document(EVIL))
    outside = re.sub(r"```text\n.*?\n```", "", page, flags=re.DOTALL)
    assert "<script" not in outside.replace("\\<", "")
    assert "![a]" not in outside
    assert "\n# not" not in outside
    assert "\x1b" not in page


@given(st.text(max_size=60))
def test_markdown_tables_keep_their_shape(text: str) -> None:
    page = to_markdown(Document("t", (Section("s", (Table(("a", "b"), ((text, text),)),)),)))
    row = page.splitlines()[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3
    assert len(page.splitlines()) == 7


def on_terminal(document: Document, width: int | None) -> list[str]:
    stream = io.StringIO()
    print_document(document, stream, width=width, colours=False)
    return stream.getvalue().splitlines()


def test_a_terminal_of_60_columns_shows_every_word() -> None:
    name = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>>(int, T2, T3)"
    table = Table(("kernel", "total ms", "share"), ((name, "1.5", "12 %"),), numeric=frozenset({1, 2}))
    lines = on_terminal(Document("t", (Section("s", (table, Items(("word " * 30,)))),)), 60)
    assert max(map(len, lines)) <= 60
    assert "".join("".join(lines).split()).count("word") == 30
    assert all(part in "".join("".join(lines).split()) for part in ("vectorized_", "BFloat16", "12%"))


def test_without_a_terminal_a_row_is_a_line() -> None:
    table = Table(("kernel", "n"), (("k" * 500, "1"),), numeric=frozenset({1}))
    lines = on_terminal(Document("t", (Section("s", (table,)),)), UNFOLDED)
    assert [line.split() for line in lines if line.startswith("kk")] == [["k" * 500, "1"]]


def test_a_terminal_gets_no_control_characters_and_no_markup() -> None:
    text = "\n".join(on_terminal(document(EVIL + "[red]x[/red] :smile:"), 200))
    assert "\x1b" not in text
    assert "[red]x[/red] :smile:" in text


def test_a_long_word_in_a_list_is_folded_and_not_cut() -> None:
    shown = io.StringIO()
    print_document(Document("", (Section("", (Items(("x" * 100,)),)),)), shown, width=40, colours=False)
    assert shown.getvalue().count("x") == 100


def test_a_sentence_links_to_the_section_that_shows_its_evidence_where_the_page_has_it() -> None:
    said = Items(("one", "two", "three"), evidence=("Every <step>", "Not here", None))
    page = to_html(Document("t", (Section("s", (said,)), Section("Every <step>", ()))))
    assert '<li>one <a href="#every-step">Evidence: Every &lt;step&gt;</a></li><li>two</li><li>three</li>' in page
    assert '<section id="every-step">' in page


def test_a_page_stays_small_whatever_a_table_has() -> None:
    rows = tuple((str(number), "x" * 50) for number in range(10_000))
    page = to_html(Document("t", (Section("s", (Table(("#", "name"), rows),)),)))
    assert len(page) < 100_000
    assert "9,800 more rows are in the Markdown beside this page." in page
