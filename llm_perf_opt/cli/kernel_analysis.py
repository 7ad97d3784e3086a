"""From paths to an analysis of the kernels in them, printed or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from llm_perf_opt.analysis.kernels.analyze import analyze_kernels, is_read
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.cli import console
from llm_perf_opt.errors import LlmperfError, MissingError, StageError
from llm_perf_opt.records.kernels import KernelAnalysis
from llm_perf_opt.reports.charts.roofline import RooflineChart
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.kernels import NO_CEILINGS, kernel_document, terminal_document
from llm_perf_opt.reports.markdown import to_markdown

JSON, MARKDOWN, HTML = "kernels.json", "kernels.md", "kernels.html"


def analyze_paths(paths: Sequence[Path], gpu: str | None = None) -> tuple[KernelAnalysis, list[str]]:
    """The analysis, and files of folders that are not ncu's; `gpu` is that of launches which do not name theirs."""
    found = find_kernels(paths, is_read)
    others = sorted({launch.gpu for launch in found.launches if launch.gpu} - {gpu})
    if gpu is not None and others:
        console.note(f"--gpu {gpu} is not used for launches that name their GPU: {', '.join(others)}")
    launches = [replace(launch, gpu=launch.gpu or gpu) for launch in found.launches]
    return analyze_kernels(launches, found.problems, found.captured_ns), found.passed_over


def failed(analysis: KernelAnalysis) -> LlmperfError:
    """The error for an analysis without a kernel."""
    lines = "\n".join(f"{problem.path}: {problem.reason}" for problem in analysis.problems)
    missing = any(problem.exit_code == MissingError.exit_code for problem in analysis.problems)
    kind = MissingError if missing else StageError
    return kind(lines, "name runs with an ncu stage, CSVs that ncu exported, or .ncu-rep files")


def print_analysis(analysis: KernelAnalysis, *, as_json: bool) -> None:
    if as_json:
        typer.echo(analysis.model_dump_json(indent=2))
    else:
        console.show(terminal_document(analysis))


def write_analysis(analysis: KernelAnalysis, folder: Path) -> list[Path]:
    """Write the report in every format; the files written.

    Raises:
        MissingError, StageError: the folder cannot be written.
    """
    document = kernel_document(analysis)
    files = {
        MARKDOWN: to_markdown(document),
        HTML: to_html(document),
        JSON: analysis.model_dump_json(indent=2) + "\n",
    }
    blocks = (block for part in document.sections for block in part.blocks)
    if analysis.launches and not any(isinstance(block, RooflineChart) for block in blocks):
        console.note(NO_CEILINGS)
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]
