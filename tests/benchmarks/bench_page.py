"""The page of a run with 10,000 kernels and 1,000 samples in a browser: until it is drawn, and until a table of 10,000
rows is sorted and filtered; milliseconds of the browser's own clock.

uv run python -m tests.benchmarks.bench_page
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.reports.facts import read_run
from llm_perf_opt.reports.write import write_run_reports
from tests.browser import CHROMIUM, FIREFOX, browser, missing
from tests.made_runs import write_made_run

KERNELS, SAMPLES = 10_000, 1_000
LIMIT_MS, LIMIT_DRAWN_MS = 100.0, 1_000.0
FIGURE = "document.querySelector('.scroll[aria-label=\"Kernels\"]').closest('figure')"
SORT = """(() => {
  const spent = [];
  for (const head of %s.querySelectorAll("th button")) {
    for (let twice = 0; twice < 2; twice++) {
      const start = performance.now();
      head.click();
      document.body.getBoundingClientRect();
      spent.push(performance.now() - start);
    }
  }
  return spent.sort((a, b) => a - b);
})()"""
FILTER = """(() => {
  const input = %s.querySelector("input"), spent = [];
  for (const text of ["f", "functor_77", "no such kernel", ""]) {
    input.value = text;
    const start = performance.now();
    input.dispatchEvent(new Event("input"));
    document.body.getBoundingClientRect();
    spent.push(performance.now() - start);
  }
  return spent.sort((a, b) => a - b);
})()"""


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        run = write_made_run(folder / "run", kernels=KERNELS, samples=SAMPLES)
        write_run_reports(read_run(run, read_manifest(run)), folder, ("html",))
        for program in (CHROMIUM, FIREFOX):
            lacking = missing(program)
            if lacking is not None:
                print(f"{program}: skipped, {lacking}")
                continue
            with browser(program, folder) as tab:
                tab.resize(1280)
                tab.open(folder / "report.html")
                drawn_ms = tab.eval("performance.getEntriesByName('drawn')[0].startTime")
                found = {"sort": tab.eval(SORT % FIGURE), "filter": tab.eval(FILTER % FIGURE)}
            print(
                f"{program}: drawn {drawn_ms:.0f} ms after it was opened: {drawn_ms / LIMIT_DRAWN_MS:.2f} of the limit"
            )
            for what, spent in found.items():
                median = spent[len(spent) // 2]
                print(
                    f"{program}: {what} {KERNELS:,} rows: median {median:.0f} ms, slowest {spent[-1]:.0f} ms: ", end=""
                )
                print(f"{median / LIMIT_MS:.2f} of the limit of {LIMIT_MS:.0f} ms")


if __name__ == "__main__":
    main()
