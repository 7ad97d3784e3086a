"""Nodes of CUDA graphs in an nsys export: who made them, and which are copies of which."""

from __future__ import annotations

import numpy as np

from llm_perf_opt.formats.sqlite_columns import Column, Int, TableReader
from llm_perf_opt.records.columns import ABSENT

# CUDA_GRAPH_EVENTS held the nodes until CUDA_GRAPH_NODE_EVENTS took them over; since then it holds whole graphs.
TABLES = ("CUDA_GRAPH_NODE_EVENTS", "CUDA_GRAPH_EVENTS")
COLUMNS = (
    Column("graphNodeId", needed=True),
    Column("originalGraphNodeId"),
    Column("start", ABSENT, needed=True),
    Column("globalTid"),
)


def read_nodes(reader: TableReader) -> list[Int]:
    """Id, id of the original (-1 without one), time and thread of each node; no rows where there is no such table."""
    table = next((name for name in TABLES if "graphNodeId" in reader.columns_of(name)), "")
    if reader.missing(table, COLUMNS):
        return [np.empty(0, np.int64) for _ in COLUMNS]
    found = reader.read(table, COLUMNS)
    whole = (found[0] > 0) & (found[2] != ABSENT)
    return found if whole.all() else [column[whole] for column in found]
