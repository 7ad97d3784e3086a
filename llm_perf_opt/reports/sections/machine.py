"""What else went on on the machine while the repeats were timed."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.machine import others_cores
from llm_perf_opt.records.machine import MachineState
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.machine import machine_remarks
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import significant

COLUMNS = (
    "launch",
    "moment",
    "cores busy for others since",
    "load, 1 min",
    "CPU waited for since, s",
    "memory, s",
    "disk, s",
    "CPU MHz",
    "governor",
)


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for stage, measured in facts.measured.items():
        blocks += _stage(stage, measured)
    return Section("Machine", tuple(blocks)) if blocks else None


def _stage(stage: str, measured: Measured) -> Iterator[Block]:
    states = [(item.number, item.machine) for item in measured.launches if item.machine is not None]
    if not states:
        return
    first = states[0][1]
    if not first.recorded:
        yield Paragraph(f"{stage}: the state of the machine was not recorded: {first.reason}.")
        return
    known = {True: "on", False: "off", None: "not known"}
    yield Paragraph(f"{stage}: {first.cores} logical cores, turbo {known[first.turbo]}, SMT {known[first.smt]}.")
    rows = tuple(row for number, state in states for row in _rows(number, state))
    yield Table(COLUMNS, rows, numeric=frozenset({0, *range(2, 8)}), important=(1, 2, 3, 7, 8))
    missing = [f"{name}: {reason}" for name, reason in first.missing.items()]
    if said := (*machine_remarks(measured), *missing):
        yield Items(tuple(said))


def _rows(launch: int, state: MachineState) -> Iterator[tuple[str, ...]]:
    before = None
    for moment in state.moments:
        waited = {
            kind: None if before is None or kind not in before.pressure_s else total - before.pressure_s[kind]
            for kind, total in moment.pressure_s.items()
        }
        yield (
            str(launch),
            moment.moment,
            significant(None if before is None else others_cores(before, moment), 3),
            significant(moment.load_1m, 3),
            *(significant(waited.get(kind), 3) for kind in ("cpu", "memory", "io")),
            "—" if moment.cpu_mhz is None else f"{moment.cpu_mhz:,.0f}",
            " and ".join(moment.governors) or "—",
        )
        before = moment


SECTION = ReportSection(51, section)
