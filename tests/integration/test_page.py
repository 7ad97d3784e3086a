"""The page of a run as a reader has it: in Chromium and Firefox, with what it must not do listened for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.records.manifest import StageEntry
from llm_perf_opt.reports.document import Document, Section, Table
from llm_perf_opt.reports.facts import RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.write import FORMATS, write_run_reports
from tests import records
from tests.browser import CHROMIUM, Browser, missing
from tests.browser import browser as start
from tests.made_runs import hostile_name, write_made_run
from tests.unit.importing.test_import import imported

pytestmark = [pytest.mark.integration, pytest.mark.browser]
KERNELS, SAMPLES = 10_000, 1_000
MOST_BYTES = 500_000
RECORDED = (
    *(f"torch/{name}.json.gz" for name in ("a100-nccl", "a100-counters-no-kernels", "b200-eager-vllm", "h100-owlv2")),
    *(f"torch/{name}.json.gz" for name in ("h100-qwen1.5-0.5b", "mi250-minitoy", "mi300-qwen1.5-0.5b")),
    *(f"torch/{name}.json.gz" for name in ("simple-add-torch2.1", "vllm-decode-full-graph")),
    *(f"nsys/{name}.sqlite" for name in ("h100-2gpu-nsys2026.2", "mfu-2gpu-before-nsys2026.2")),
    *(f"nsys/{name}.sqlite" for name in ("rtx3080-two-kernels-nsys2026.1", "rtx4060-no-kernels-nsys2025.5")),
    *("nsys/rtx5060ti-no-kernels-nsys2025.1.sqlite", "nsys/dsocr-rtx5090-decode-cuda_gpu_kern_sum.csv"),
    *("ncu/gtx1660ti-ncu2022.4.ncu-rep", "ncu/rtx3070-ncu2020.3.ncu-rep"),
)


def page_of(facts: RunFacts, folder: Path) -> Path:
    written = write_run_reports(facts, folder, FORMATS)
    assert not written.defects
    return folder / "report.html"


def made(folder: Path, **sizes: int) -> Path:
    run = write_made_run(folder / "run", **{"kernels": 40, "samples": 2} | sizes)  # type: ignore[arg-type]
    return page_of(read_run(run, read_manifest(run)), folder)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("big"), kernels=KERNELS, samples=SAMPLES)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("small"))


def table(title: str) -> str:
    """The rows that a table shows."""
    return f"document.querySelector('.scroll[aria-label=\"{title}\"] tbody')"


def test_a_listener_hears_what_no_page_may_do(chromium: Browser, small: Path) -> None:
    page = small.with_name("broken.html")
    evil = "<img src='http://127.0.0.1:9/x.png'><script>document.title = 'owned'</script></main>"
    page.write_text(small.read_text(encoding="utf-8").replace("</main>", evil), encoding="utf-8")
    chromium.open(page)
    faults = " ".join(chromium.faults)
    assert "violation: script-src" in faults
    assert "violation: img-src" in faults
    assert chromium.eval("document.title") != "owned"


def test_a_large_run_is_a_small_page(browser: Browser, big: Path) -> None:
    assert big.stat().st_size <= MOST_BYTES
    browser.open(big)
    assert browser.faults == []
    answer = json.loads((big.parent / "summary.json").read_text())["answer"]
    assert browser.eval("document.querySelector('.lead').textContent") == answer
    # Every chart is drawn, and its tables are folded up behind it.
    inside = "f.querySelector('.stage svg, .stage canvas, .stage table') !== null"
    charts = browser.eval(f"[...document.querySelectorAll('figure.chart')].map(f => [f.dataset.kind, {inside}])")
    assert {kind for kind, _ in charts} == {
        "tiles",
        "bars",
        "icicle",
        "time_line",
        "steps",
        "roofline",
        "data_table",
        "lines",
    }
    assert all(drawn for _, drawn in charts)
    assert browser.eval("document.querySelectorAll('figure.chart > details[open]').length") == 0


def test_a_table_is_sorted_and_filtered_by_keyboard(browser: Browser, big: Path) -> None:
    browser.open(big)
    rows = table("Kernels")
    status = f"{rows}.closest('figure').querySelector('[role=status]').textContent"
    assert browser.eval(status).startswith(f"{KERNELS:,} of {KERNELS:,} rows")
    assert browser.eval(f"{rows}.rows.length") == 50  # the others are not in the page until they are asked for
    browser.press("/")
    assert browser.eval("document.activeElement.getAttribute('aria-label')") == "Filter Operators"
    browser.eval(f"{rows}.closest('figure').querySelector('input').focus()")
    browser.press(*"functor_77<")
    browser.until(f"{status}.startsWith('1 of')")
    assert "CUDAFunctor_77<" in browser.eval(f"{rows}.textContent")
    browser.press("Escape")
    browser.until(f"{status}.startsWith('{KERNELS:,} of')")
    # By name, then by calls: a button in each head, with what it does said in words.
    head = f"[...{rows}.closest('table').querySelectorAll('th')]"
    browser.eval(f"{head}[1].querySelector('button').focus()")
    browser.press("Enter")
    browser.until(f"{head}[1].getAttribute('aria-sort') === 'ascending'")
    names = browser.eval(f"[...{rows}.rows].map(row => row.cells[1].title || row.cells[1].textContent)")
    assert [name.lower() for name in names] == sorted(name.lower() for name in names)
    browser.eval(f"{head}[4].querySelector('button').focus()")
    browser.press("Enter")
    times = browser.eval(f"[...{rows}.rows].map(row => parseFloat(row.cells[4].textContent))")
    assert times == sorted(times, reverse=True)
    assert browser.faults == []


def test_the_drill_down_and_the_time_line_by_keyboard(browser: Browser, small: Path) -> None:
    browser.open(small)
    figure = "document.querySelector('figure[data-kind=icicle]')"
    said = f"{figure}.querySelector('[role=status]').textContent"
    browser.eval(f"{figure}.querySelector('[role=application]').focus()")
    browser.press("Down", "Down")
    inner = browser.eval(said)
    browser.press("Enter")
    crumbs = f"[...{figure}.querySelectorAll('.tools .tools button')].map(b => b.textContent)"
    inside = browser.eval(crumbs)
    assert len(inside) == 3
    assert inner.startswith(inside[-1])
    browser.press("Escape", "Escape")
    assert browser.eval(crumbs) == ["everything"]
    canvas = "document.querySelector('figure[data-kind=time_line] canvas')"
    shown = f"{canvas}.closest('figure').querySelector('.tools > span').textContent"
    browser.eval(f"{canvas}.focus()")
    whole = browser.eval(shown)
    browser.press("+", "+")
    zoomed = browser.eval(shown)
    browser.press("Right")
    assert len({whole, zoomed, browser.eval(shown)}) == 3
    browser.press(".")
    event = browser.eval(f"{canvas}.closest('figure').querySelector('[role=status]').textContent")
    assert event.endswith(", thread 1 of process 1")
    browser.press("0")
    assert browser.eval(shown) == whole
    assert browser.faults == []


def test_names_that_attack_stay_text(browser: Browser, tmp_path: Path) -> None:
    run = write_made_run(tmp_path / "run", kernels=400, samples=20, name=hostile_name)
    page = page_of(read_run(run, read_manifest(run)), tmp_path)
    assert page.stat().st_size <= MOST_BYTES
    browser.open(page)
    assert browser.faults == []
    assert browser.eval("document.title") == "llmperf: demo"
    foreign = "script:not([type]), img, iframe, [onerror], [onclick], base, form"
    tags = browser.eval(f"[...document.querySelectorAll('{foreign}')].map(n => n.tagName)")
    assert tags == ["SCRIPT"]
    rows = table("Kernels")
    browser.eval(f"{rows}.closest('figure').querySelector('input').focus()")
    browser.press(*"</script>")
    browser.until(f"{rows}.rows.length === 50")
    assert "</script><script>" in browser.eval(f"{rows}.rows[0].textContent")
    assert "\u202e" not in browser.eval("document.body.textContent")
    # Nothing makes the page wider than its window, on a phone neither.
    browser.resize(400)
    assert browser.eval("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_that_failed_says_so_first(browser: Browser, tmp_path: Path) -> None:
    facts = records.facts(records.measured(records.workload(stage="direct_inference"), peaks=records.NO_PEAKS))
    failed = StageEntry(status="failed", reason="out of memory: <b>8 GiB</b>", remedy="lower infer.batch_size")
    stages = {"direct_inference": StageEntry(status="completed"), "torch_profiler": failed}
    manifest = facts.manifest.model_copy(update={"stages": stages})
    facts = RunFacts(tmp_path, manifest, facts.setup, measured=facts.measured)
    browser.open(page_of(facts, tmp_path))
    assert browser.faults == []
    said = browser.eval("document.querySelector('.lead').textContent")
    assert said.startswith("torch_profiler failed: out of memory: <b>8 GiB</b>. A sample takes 70.00 ms")
    assert browser.eval("document.querySelector('.badges .bad').textContent") == "✗ torch_profiler failed"
    assert "lower infer.batch_size" in browser.eval("document.querySelector('#answer').textContent")


@pytest.mark.parametrize("width", [400, 1280])
def test_what_can_be_done_has_a_name_and_what_is_read_a_contrast(browser: Browser, small: Path, width: int) -> None:
    browser.resize(width)
    browser.open(small)
    assert browser.eval("document.documentElement.scrollWidth <= innerWidth")
    unnamed = browser.eval(
        "[...document.querySelectorAll('button, input, select, canvas, [role=application], figure')].filter("
        "n => !(n.getAttribute('aria-label') || n.textContent.trim())).map(n => n.outerHTML)"
    )
    assert unnamed == []
    assert browser.eval(CONTRAST) == []


def test_in_the_dark_there_is_contrast_too(small: Path, tmp_path: Path) -> None:
    if (lacking := missing(CHROMIUM)) is not None:
        pytest.skip(lacking)
    with start(CHROMIUM, tmp_path, dark=True) as tab:
        tab.resize(1280)
        tab.open(small)
        assert tab.eval("matchMedia('(prefers-color-scheme: dark)').matches")
        assert tab.eval(CONTRAST) == []


def test_on_paper_no_column_is_lost(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    # As wide as A4 without its margins, and drawn for paper.
    chromium.resize(680)
    chromium.eval("dispatchEvent(new Event('beforeprint'))")
    wide = "[...document.querySelectorAll('figure.chart svg, figure.chart canvas')].filter(n => n.clientWidth > 700)"
    assert chromium.eval(f"{wide}.length") == 0
    assert chromium.eval("document.documentElement.classList.contains('print')")
    assert chromium.paper(21.0, 29.7).startswith(b"%PDF")
    chromium.eval("dispatchEvent(new Event('afterprint'))")
    assert chromium.faults == []


SWEPT = (
    *("infer.batch_size", "infer.max_new_tokens", "status", "ttft_ms", "prefill.latency_ms"),
    *("at best (prefill.latency_ms)", "decode.tpot_ms", "e2e.latency_ms", "e2e.tokens_per_s", "memory.peak_bytes"),
    *("prefill.mfu", "front", "run"),
)
ROW = ("16", "1024", "completed", "1,071", "873.7", "112.5", "2.349", "1,078", "7.422", "1.54 GiB", "12.9 %", "yes")


def test_a_table_of_a_sweep_fits_on_paper(chromium: Browser, tmp_path: Path) -> None:
    table = Table(SWEPT, ((*ROW, "8c79f3108541"),), numeric=frozenset(range(3, 11)))
    page = tmp_path / "page.html"
    page.write_text(to_html(Document("Sweep", (Section("Points", (table,)),))), encoding="utf-8")
    chromium.open(page)
    chromium.resize(680)
    # The rules for paper, on the screen.
    rules = "[...document.styleSheets].flatMap(sheet => [...sheet.cssRules])"
    chromium.eval(f"{rules}.filter(rule => rule.media).forEach(rule => (rule.media.mediaText = 'all'))")
    assert chromium.eval("document.querySelector('table').scrollWidth <= innerWidth")
    assert chromium.eval("[...document.querySelectorAll('td')].every(cell => cell.offsetHeight < 24)")


CONTRAST = """(() => {
  const part = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(part);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)|transparent/.test(found)) return found;
    }
    return "rgb(255, 255, 255)";
  };
  const bad = new Set();
  for (const node of document.querySelectorAll("p, li, td, th, a, button, summary, figcaption, span, b, h1, h2")) {
    if (!node.textContent.trim() || !node.getClientRects().length) continue;
    if (ratio(getComputedStyle(node).color, behind(node)) < 4.5) bad.add(`${node.tagName}.${node.className}`);
  }
  for (const text of document.querySelectorAll("svg text")) {
    const box = text.getBBox();
    const under = [...text.parentNode.querySelectorAll("rect")].filter((rect) => {
      const other = rect.getBBox();
      const across = other.x <= box.x + 2 && other.x + other.width >= box.x + 4;
      return across && other.y <= box.y + 4 && other.y + other.height >= box.y + 4;
    }).pop();
    const ground = under ? getComputedStyle(under).fill : behind(text.closest("div"));
    if (ratio(getComputedStyle(text).fill, ground) < 4.5) bad.add(`text ${text.textContent}`);
  }
  return [...bad];
})()"""


@pytest.mark.real_data
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_import_is_a_page(chromium: Browser, shared_data: Path, tmp_path: Path, name: str) -> None:
    _, facts = imported(tmp_path, shared_data / name)
    page = facts.path / "report.html"
    assert page.stat().st_size <= MOST_BYTES
    chromium.open(page)
    assert chromium.faults == []
    answer = json.loads((facts.path / "summary.json").read_text())["answer"]
    assert chromium.eval("document.querySelector('.lead').textContent").split() == answer.split()
