"""The machine and the software."""

from __future__ import annotations

from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.reports.document import Block, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes


def section(facts: RunFacts) -> Section:
    rows: list[tuple[str, str]] = []
    if facts.headline is not None:
        device = facts.headline.workload.device
        rows += [
            ("device", f"{device.device}: {device.name}"),
            ("compute threads", str(device.threads)),
            ("torch", f"{device.torch_version}, built for CUDA {device.cuda_version or 'none'}"),
            ("transformers", device.transformers_version),
        ]
    if facts.setup is not None:
        rows += _host(facts.setup.environment)
    rows += [("llmperf", facts.manifest.llmperf_version), ("command", " ".join(facts.manifest.argv))]
    blocks: list[Block] = [Table(("what", "value"), tuple(rows))]
    if facts.setup is None:
        blocks.append(
            Paragraph("The files were captured elsewhere: on which machine, with what software, is not known.")
        )
    return Section("Environment", tuple(blocks))


def _host(host: EnvironmentRecord) -> list[tuple[str, str]]:
    return [
        ("CPU", f"{host.cpu_model or 'unknown'}, {host.cpu_available_cores or '?'} cores for this process"),
        ("memory", in_bytes(host.memory_total_bytes)),
        ("system", f"{host.os}, kernel {host.kernel}, {host.machine}"),
        ("Python", host.python_version),
        ("GPUs", ", ".join(gpu.name for gpu in host.gpus.gpus) or f"none: {host.gpus.none_because}"),
    ]


SECTION = ReportSection(65, section)
