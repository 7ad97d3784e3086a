"""Runs the campaign and prints what came of it; `--write` puts the figures into docs/reliability.md.

uv run python -m tests.campaign [--faults N] [--inputs N] [--seed N] [--jobs N] [--package CHECKOUT] [--write]

Exits with 1 where anything went wrong.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.campaign.faults import all_faults
from tests.campaign.inputs import all_inputs
from tests.campaign.judge import Findings
from tests.campaign.page import EARLIER, PAGE, START, Figures, Row, figures_table, written
from tests.conftest import REPOSITORY


def commit_of(package: Path) -> str:
    """The checkout's commit, and whether anything of the package differs from it."""
    git = ["git", "-C", str(package)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "llm_perf_opt"], capture_output=True, text=True, check=False
    )
    return (head.stdout.strip() or "unknown") + (", changed since" if changed.stdout.strip() else "")


def show(what: str, found: Findings) -> None:
    for kind, words in found.wrong.items():
        print(f"{kind}: {what}\n    " + words[:2500].replace("\n", "\n    "), flush=True)


def tell(words: str) -> None:
    """How far it is."""
    print(f"{datetime.now():%H:%M:%S} {words}", file=sys.stderr, flush=True)


def run_faults(package: Path, count: int, seed: int) -> list[Row]:
    rows: dict[str, Row] = {}
    for fault in all_faults(package, count, seed):
        row = rows.setdefault(fault.kind, Row(fault.kind))
        if fault.injected:
            row.add(fault.found)
        else:
            row.missed += 1
        met = "injected" if fault.injected else "met nobody"
        tell(f"fault {fault.number}, {fault.command}: {fault.what or fault.kind}, {met}")
        show(f"fault {fault.number}, {fault.command}: {fault.what}", fault.found)
    return [rows[name] for name in sorted(rows)]


def run_inputs(package: Path, count: int, seed: int, jobs: int, keep: Path | None) -> list[Row]:
    rows: dict[str, Row] = {}
    for ended in all_inputs(package, count, seed, jobs, keep):
        name = f"{ended.case.seed.kind}{' of a run' if ended.case.seed.run else ''}"
        row = rows.setdefault(name, Row(name))
        row.add(ended.found)
        row.refused += ended.code != 0
        row.peak_bytes = max(row.peak_bytes, ended.peak_bytes)
        row.longest_s = max(row.longest_s, ended.own_s)
        if not (ended.case.number + 1) % 100:
            tell(f"{ended.case.number + 1} of {count} files")
        show(f"input {ended.case.number}, {ended.case.seed.name}: {' '.join(ended.case.command)}", ended.found)
    return [rows[name] for name in sorted(rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=16, help="0 draws one")
    parser.add_argument("--jobs", type=int, default=1, help="damaged files at a time")
    parser.add_argument("--package", type=Path, default=REPOSITORY, help="checkout of the llmperf to try")
    parser.add_argument("--keep", type=Path, help="where damaged files that did harm are left")
    parser.add_argument("--write", action="store_true", help=f"refresh {PAGE.name}")
    given = parser.parse_args()
    package = given.package.resolve()
    seed = given.seed or random.SystemRandom().randrange(1, 1 << 31)
    started, commit = time.monotonic(), commit_of(package)
    faults = run_faults(package, given.faults, seed) if given.faults else []
    inputs = run_inputs(package, given.inputs, seed, given.jobs, given.keep) if given.inputs else []
    figures = Figures(f"{datetime.now(UTC):%Y-%m-%d}", commit, seed, faults, inputs, time.monotonic() - started)
    print(figures_table(figures))
    if given.write:
        start = START if package == REPOSITORY else EARLIER
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), figures, start), encoding="utf-8")
    return int(any(row.wrong for row in (*faults, *inputs)))


if __name__ == "__main__":
    sys.exit(main())
