"""The kernels that take the time, as a table for people."""

from __future__ import annotations

from llm_perf_opt.records.kernels import TopKernels
from llm_perf_opt.reports.document import Document, Paragraph, Section, Table
from llm_perf_opt.reports.units import percent, significant

WHOLE_GRAPHS = "CUDA graphs, traced whole"
_COLUMNS = ("kernel", "category", "calls", "total ms", "share", "max µs")


def top_document(top: TopKernels) -> Document:
    """A row for each kernel, and one for all CUDA graphs that were traced whole."""
    rows = [
        (
            kernel.short_name or kernel.name,
            kernel.category or "—",
            "—" if kernel.launches is None else f"{kernel.launches:,}",
            significant(kernel.total_ms),
            "—" if kernel.share is None else percent(kernel.share),
            significant(kernel.max_us),
        )
        for kernel in top.kernels
    ]
    graphs = top.whole_graphs
    if graphs is not None:
        figures = (significant(graphs.total_ms), percent(graphs.share), significant(graphs.max_us))
        rows.append((WHOLE_GRAPHS, "unknown", f"{graphs.launches:,}", *figures))
    table = Table(
        _COLUMNS, tuple(rows), frozenset(range(2, len(_COLUMNS))), names=frozenset({0}), important=(0, 3, 4, 2, 1, 5)
    )
    words = [f"{top.kernels_left_out:,} more names: --limit N shows them."] if top.kernels_left_out else []
    words.append(
        "Full names and ncu's patterns, as kernels profile reads them: -o FILE. Shares are of all that was asked for."
    )
    if graphs is not None:
        words.append("Kernels in CUDA graphs are unknown: nsys records them with --cuda-graph-trace=node.")
    return Document("Kernels by total time", (Section(top.source, (table, *map(Paragraph, words))),))
