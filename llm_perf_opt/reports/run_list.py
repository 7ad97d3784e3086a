"""The list of runs: of each its manifest, and of those that are shown `summary.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from llm_perf_opt.artifacts.history import PassedOver, PastRun
from llm_perf_opt.artifacts.layout import SUMMARY
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.history import ListedFigure, ListedRun, NotRead, PastMeasured, PastSummary, RunList
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.units import significant

FIGURES = ("ttft_ms", "decode.tpot_ms", "decode.tokens_per_s", "e2e.latency_ms")


def list_runs(runs: Sequence[PastRun], passed: Iterable[PassedOver], limit: int) -> RunList:
    """The newest `limit` of them; 0 for all."""
    shown = runs[:limit] if limit else runs
    return RunList(
        runs=tuple(map(_listed, shown)),
        found=len(runs),
        passed_over=tuple(NotRead(path=str(item.path), reason=item.reason) for item in passed),
    )


def _listed(run: PastRun) -> ListedRun:
    manifest = run.manifest
    listed = ListedRun(
        path=str(run.path),
        created=manifest.created,
        status=manifest.status,
        stages={name: entry.status for name, entry in manifest.stages.items()},
    )
    try:
        summary = PastSummary.model_validate_json(read_file(run.path / SUMMARY))
    except FileNotFoundError:
        ended = f"llmperf report {run.path} writes it" if manifest.status != "running" else "the run has not ended"
        return listed.model_copy(update={"reason": f"there is no {SUMMARY}: {ended}"})
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        return listed.model_copy(update={"reason": f"{SUMMARY} cannot be read: {said}"})
    stage = _headline(summary.measured)
    if stage is None:
        return listed.model_copy(update={"name": summary.name, "reason": "no stage timed the model"})
    measured = summary.measured[stage]
    return listed.model_copy(
        update={
            "name": summary.name,
            "model_type": measured.model.model_type,
            "dtype": measured.model.dtype,
            "device": measured.device.name,
            "stage": stage,
            "launches": measured.launches,
            "figures": {
                name: ListedFigure(unit=found.unit, median=found.median)
                for name in FIGURES
                if (found := measured.metrics.get(name)) is not None
            },
        }
    )


def _headline(measured: dict[str, PastMeasured]) -> str | None:
    """The stage whose timings are quoted: one that did nothing but time, which of llmperf 0.2 was direct_inference."""

    def did_more(name: str) -> bool:
        only = measured[name].timings_only
        return name != "direct_inference" if only is None else not only

    return min(measured, key=did_more, default=None)


def run_list_document(found: RunList, *, named: bool) -> Document:
    """For people; `named`: with everything that was passed over."""
    blocks: list[Block] = []
    if found.runs:
        columns = ("run", "made (UTC)", "status", "model", "dtype", "device", "launches", *FIGURES)
        rows = tuple(map(_cells, found.runs))
        numeric = frozenset(range(6, len(columns)))
        names = frozenset({0, 3, 5})
        blocks.append(Table(columns, rows, numeric=numeric, names=names, important=(0, 1, 2, 3, 7, 8, 9, 10)))
    else:
        blocks.append(Paragraph("There are no runs."))
    reasons = [f"{run.path}: {run.reason}" for run in found.runs if run.reason is not None]
    if named and reasons:
        blocks.append(Items(tuple(reasons)))
    if len(found.runs) < found.found:
        blocks.append(Paragraph(f"The newest {len(found.runs):,} of {found.found:,}; --limit 0 shows all."))
    blocks += passed_over_blocks(found.passed_over, named=named)
    return Document("Runs", (Section("Newest first", tuple(blocks)),))


def passed_over_blocks(passed: Sequence[NotRead], *, named: bool) -> list[Block]:
    """How many folders were passed over; with their reasons where they are to be named."""
    if not passed:
        return []
    count = f"{len(passed):,} folder{'s were' if len(passed) > 1 else ' was'} passed over"
    if not named:
        return [Paragraph(f"{count}; `llmperf --verbose` names {'them' if len(passed) > 1 else 'it'}.")]
    return [Paragraph(f"{count}:"), Items(tuple(f"{item.path}: {item.reason}" for item in passed))]


def _cells(run: ListedRun) -> tuple[str, ...]:
    figures = (run.figures.get(name) for name in FIGURES)
    return (
        run.path,
        run.created[:19].replace("T", " "),
        run.status,
        run.name or "—",
        run.dtype or "—",
        run.device or "—",
        "—" if run.launches is None else str(run.launches),
        *(significant(None if found is None else found.median) for found in figures),
    )
