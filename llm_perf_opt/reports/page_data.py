"""The data of charts inside a page: small, whatever the size of the run."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import Chart

MOST_BYTES = 300_000
"""Of the data of all charts of a page, as it stands in the page."""
PACKED_FROM = 3_000
"""Bytes from which data is compressed."""


def embed(charts: Sequence[Chart]) -> list[tuple[Chart, str]]:
    """Each chart with its data as an element of the page, the largest pruned until all of them fit.

    The element runs nothing, and closes where it is meant to whatever the data holds.
    """
    found = [(chart, _element(chart)) for chart in charts]
    while sum(len(element) for _, element in found) > MOST_BYTES:
        most = _most([len(element) for _, element in found])
        pruned = [chart.pruned(most / len(element) * 0.9) if len(element) > most else chart for chart, element in found]
        if all(new is chart for new, (chart, _) in zip(pruned, found, strict=True)):
            break
        found = [old if new is old[0] else (new, _element(new)) for new, old in zip(pruned, found, strict=True)]
    return found


def _most(sizes: Sequence[int]) -> int:
    """The size to which the largest are cut so that all fit."""
    left, parts = MOST_BYTES, len(sizes)
    for size in sorted(sizes):
        if size * parts > left:
            break
        left, parts = left - size, parts - 1
    return left // max(parts, 1)


def _element(chart: Chart) -> str:
    text = json.dumps(chart.data(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = visible(text).replace("<", "\\u003c")
    if len(text) < PACKED_FROM:
        return f'<script type="application/json">{text}</script>'
    # Without a time in it, so that the same run gives the same page.
    packed = base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
    return f'<script type="application/gzip">{packed}</script>'
