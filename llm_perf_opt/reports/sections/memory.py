"""What the peak of memory is made of."""

from __future__ import annotations

from llm_perf_opt.records.memory import MemoryPeak, PartName
from llm_perf_opt.reports.charts.bars import Bar, Bars, Part, Tone
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes, percent

SHOWN = 8
TONES: dict[PartName, Tone] = {
    "weights": "prefill",
    "buffers": "in-prefill",
    "cache": "decode",
    "inputs": "in-decode",
    "rest": "rest",
}


def section(facts: RunFacts) -> Section | None:
    found = facts.first(MemoryPeak)
    if found is None:
        return None
    rows = tuple(
        (part.name, in_bytes(part.bytes), percent(part.bytes / found.peak_bytes), f"{part.storages:,}")
        for part in found.parts
    )
    bars = Bars(
        title="What the peak is made of",
        unit="MiB",
        total=found.peak_bytes / (1 << 20),
        bars=(Bar("peak", tuple(Part(part.name, part.bytes / (1 << 20), TONES[part.name]) for part in found.parts)),),
    )
    blocks: list[Block] = [
        Paragraph(_sentence(found)),
        *([bars] if found.peak_bytes else []),
        Table(("part", "bytes", "share", "storages"), rows, numeric=frozenset({1, 2, 3})),
        Items(tuple(_remarks(found))),
    ]
    if found.largest:
        largest = tuple(
            (in_bytes(made.bytes), "×".join(map(str, made.shape)), made.dtype, made.operator or "there before")
            for made in found.largest[:SHOWN]
        )
        blocks.append(Table(("largest of the rest", "shape", "dtype", "made by"), largest, numeric=frozenset({0})))
    return Section("Memory at the peak", tuple(blocks))


def _sentence(found: MemoryPeak) -> str:
    where = f"in {found.phase}, after {found.operator}" if found.phase is not None else f"after {found.operator}"
    return (
        f"Tensors on {found.device} took {in_bytes(found.peak_bytes)} at the most, {where}; a pass of its own, eager, "
        "counted by live storages."
    )


def _remarks(found: MemoryPeak) -> list[str]:
    phases = ", ".join(f"{phase} {in_bytes(size)}" for phase, size in found.by_phase_bytes.items())
    remarks = [f"Peak of each phase: {phases}."] if phases else []
    if found.tallied_bytes == found.peak_bytes:
        remarks.append("Counted a second way, every live tensor by its storage: the same to the byte.")
    else:
        remarks.append(f"Counted a second way, every live tensor by its storage: {found.tallied_bytes:,} bytes.")
    if found.allocator_peak_bytes is not None and found.unexplained_bytes is not None:
        share = percent(found.unexplained_bytes / found.allocator_peak_bytes)
        remarks.append(
            f"The CUDA allocator's peak was {in_bytes(found.allocator_peak_bytes)}: {share} of it is in no part "
            "(rounding, and what operators take and return within themselves)."
        )
    if found.resident_bytes is not None:
        remarks.append(f"Resident set of the process then: {in_bytes(found.resident_bytes)}, libraries included.")
    if found.snapshot is not None:
        remarks.append(f"The allocator's snapshot is in {found.snapshot}: https://pytorch.org/memory_viz shows it.")
    return [*remarks, *found.notes]


SECTION = ReportSection(52, section)
