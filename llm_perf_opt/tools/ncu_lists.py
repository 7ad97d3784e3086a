"""Asking an installed ncu what it knows: metrics of this machine's GPU, sections, sets; each once a process."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.tools.ncu import list_sections_argv, list_sets_argv, query_metrics_argv
from llm_perf_opt.tools.ncu_names import listed_metrics, listed_sections, listed_sets
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
