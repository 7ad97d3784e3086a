"""What an installed ncu knows: metrics of this machine's GPU, sections, sets; asked for once a process.

`ncu --query-metrics` and `ncu --list-sections` print tables, with or without `--csv`; names are found by their form, so
that neither layout matters.
"""

from __future__ import annotations

import csv
import functools
import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.tools.ncu import list_sections_argv, list_sets_argv, query_metrics_argv
from llm_perf_opt.tools.process import run

TIMEOUT_S = 120.0


def known_metrics(program: str) -> frozenset[str]:
    """Base names of the GPU's metrics; empty where ncu cannot say (no GPU, no driver)."""
    return listed_metrics(_output(tuple(query_metrics_argv(program))))


def known_sections(program: str) -> frozenset[str]:
    return listed_sections(_output(tuple(list_sections_argv(program))))


def known_sets(program: str) -> dict[str, int]:
    """Set → estimated number of its metrics."""
    return listed_sets(_output(tuple(list_sets_argv(program))))


@functools.cache
def _output(argv: tuple[str, ...]) -> str:
    """What a list prints; empty where it fails, since a name that cannot be checked is sent as it is."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "list"
        try:
            finished = run(argv, log=log, cwd=Path(folder), env=os.environ, timeout_s=TIMEOUT_S)
        except LlmperfError:
            return ""
        return log.read_text(errors="replace") if finished.ok else ""


_METRIC = re.compile(r"(?:^|[\s\",])([a-z][a-z0-9]*__[a-z0-9_]+)", re.MULTILINE)
_SECTION = re.compile(r"^\s*\"?([A-Z][A-Za-z0-9_]+)\"?(?=[\s,]|$)", re.MULTILINE)
_PREFIXES = ("regex:", "group:", "breakdown:")


def listed_metrics(output: str) -> frozenset[str]:
    """Base names (without suffixes like `.sum`) in the output of `--query-metrics`."""
    return frozenset(_METRIC.findall(output))


def listed_sections(output: str) -> frozenset[str]:
    """Identifiers in the output of `--list-sections`."""
    return frozenset(_SECTION.findall(output)) - {"Identifier"}


def split_metrics(wanted: Iterable[str], known: frozenset[str]) -> tuple[list[str], list[str]]:
    """The metrics to ask for, and those that this GPU does not have.

    Only what can be judged is dropped: `--query-metrics` lists the counters of the GPU, not the launch, device and
    other attributes (`launch__…`), so a name whose unit (`dram` in `dram__bytes`) is not listed at all stays, as do
    `regex:`, `group:` and `breakdown:`. A name without `__` is none of ncu's. With nothing listed everything stays.
    """
    units = {name.split("__")[0] for name in known}
    kept: list[str] = []
    dropped: list[str] = []
    for metric in wanted:
        base = metric.split(".")[0]
        unit, separator, _ = base.partition("__")
        foreign = not separator or (unit in units and base not in known)
        (dropped if known and foreign and not metric.startswith(_PREFIXES) else kept).append(metric)
    return kept, dropped


def split_sections(wanted: Sequence[str], known: frozenset[str]) -> tuple[list[str], list[str]]:
    """The sections to ask for, and those that this ncu does not have; with nothing listed everything stays."""
    unknown = [name for name in wanted if known and name not in known and not name.startswith("regex:")]
    return [name for name in wanted if name not in unknown], unknown


PASSES_OF_FULL = 40
"""Rule of thumb: a launch under `--set full` took 31 to 49 passes in public logs (docs/nsight/sources.md). What fits
into a pass depends on the GPU."""


def listed_sets(output: str) -> dict[str, int]:
    """Set → the number of metrics that ncu takes it to have, from the output of `--list-sets --csv`."""
    rows = csv.DictReader(line for line in output.splitlines() if line.startswith('"'))
    found = {row.get("Identifier"): row.get("Estimated Metrics") or "" for row in rows}
    return {name: int(count) for name, count in found.items() if name and count.strip().isdigit()}


def estimated_passes(metrics: int, full: int) -> int:
    """About how often ncu replays a launch to collect `metrics` metrics.

    Args:
        full: how many metrics the set `full` has, counted in the same way. Releases count differently (229 in 2022.3,
            613 in 2024.1), so a share of it says more than a number.
    """
    return max(1, math.ceil(PASSES_OF_FULL * metrics / full))
