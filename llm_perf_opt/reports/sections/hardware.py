"""What the GPU did while the repeats were timed, and how much memory each phase took."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.metrics import throttle_note
from llm_perf_opt.artifacts.layout import HARDWARE_SERIES
from llm_perf_opt.records.hardware import Distribution, HardwareSeries, HardwareState
from llm_perf_opt.records.workload import Instrumented, Memory, PhaseMemory
from llm_perf_opt.reports.charts.lines import Line, Lines
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes, percent, significant


def section(facts: RunFacts) -> Section | None:
    if not facts.measured:
        return None
    blocks: list[Block] = []
    for stage, measured in facts.measured.items():
        blocks.append(Paragraph(f"{stage}: {_sentence(measured.hardware)}"))
        series = _series(facts, stage) if measured.hardware.recorded else None
        blocks += [series] if series is not None else []
        blocks += _state(measured.hardware)
        modules = facts.of_stage(stage, Instrumented)
        blocks += _memory(measured.workload.memory, modules.memory if modules is not None else ())
    return Section("Hardware state and memory", tuple(blocks))


def _sentence(state: HardwareState) -> str:
    if not state.recorded:
        return f"clocks, power and temperature were not recorded: {state.reason}."
    watched = f"{state.gpu_name} was watched during the timed repeats"
    if state.throttled is None:
        return f"{watched}; whether it was throttled it does not say."
    if state.throttled:
        return f"{watched}; {throttle_note(state)}."
    return f"{watched} and was not throttled."


SERIES = (
    ("sm_clock_mhz", "SM clock", "MHz", 1.0),
    ("memory_clock_mhz", "memory clock", "MHz", 1.0),
    ("power_w", "power", "W", 1.0),
    ("temperature_c", "temperature", "°C", 1.0),
    ("memory_used_bytes", "memory in use, all processes", "GiB", 1 << 30),
)


def _series(facts: RunFacts, stage: str) -> Lines | None:
    """What was sampled over the timed repeats; None where no sample was kept."""
    file = facts.path / stage / HARDWARE_SERIES
    if not file.is_file():
        return None
    columns = HardwareSeries.read(file).columns
    lines = tuple(
        Line(words, unit, [None if value is None else value / factor for value in columns[name]])
        for name, words, unit, factor in SERIES
        if any(value is not None for value in columns.get(name, ()))
    )
    if not lines:
        return None
    note = f"Every sample of the timed repeats of {stage}, {len(columns['at_s']):,} of them."
    return Lines(title="Clocks, power and temperature over time", note=note, times_s=columns["at_s"], lines=lines)


def _state(state: HardwareState) -> list[Block]:
    if not state.recorded:
        return []
    quantities: tuple[tuple[str, Distribution | None], ...] = (
        ("SM clock, MHz", state.sm_clock_mhz),
        ("memory clock, MHz", state.memory_clock_mhz),
        ("power, W", state.power_w),
        ("temperature, °C", state.temperature_c),
    )
    rows = [
        (name, str(found.n), *(significant(value) for value in (found.min, found.median, found.mean, found.max)))
        for name, found in quantities
        if found is not None
    ]
    used = state.memory_used_bytes
    if used is not None:
        cells = (in_bytes(value) for value in (used.min, used.median, used.mean, used.max))
        rows.append(("memory in use, all processes", str(used.n), *cells))
    table = Table(("quantity", "samples", "min", "median", "mean", "max"), tuple(rows), numeric=frozenset(range(1, 6)))
    return [table, Items(tuple(_remarks(state)))]


def _remarks(state: HardwareState) -> list[str]:
    remarks = []
    if state.energy_j is not None and state.duration_ms is not None:
        how = "the GPU's counter" if state.energy_method == "energy_counter" else "sampled power over time"
        remarks.append(
            f"Energy of the whole GPU: {significant(state.energy_j)} J in {significant(state.duration_ms / 1e3)} s, "
            f"by {how}."
        )
    if state.energy_by_phase_j:
        parts = ", ".join(f"{phase} {significant(joules)} J" for phase, joules in state.energy_by_phase_j.items())
        remarks.append(f"Of it: {parts}.")
    events = ", ".join(f"{name} {percent(share)}" for name, share in state.clock_events.items())
    if events:
        remarks.append(f"Reasons for clocks below their maximum, share of samples: {events}.")
    return [*remarks, *(f"{name}: {reason}" for name, reason in state.unavailable.items())]


def _memory(memory: Memory, instrumented: Sequence[PhaseMemory]) -> list[Block]:
    phases = (*memory.phases, *instrumented)
    if not phases:
        return []
    rows = tuple((phase.phase, in_bytes(phase.device_bytes), in_bytes(phase.host_bytes)) for phase in phases)
    columns = ("peak memory", "GPU, allocated by torch", "host, resident set")
    remarks = [
        f"{name}: not measured: {reason}"
        for name, reason in (("GPU", memory.device_reason), ("host", memory.host_reason))
        if reason is not None
    ]
    blocks: list[Block] = [Table(columns, rows, numeric=frozenset({1, 2}))]
    return [*blocks, Items(tuple(remarks))] if remarks else blocks


SECTION = ReportSection(50, section)
