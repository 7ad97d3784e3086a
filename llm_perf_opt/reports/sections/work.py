"""What the model and the work were."""

from __future__ import annotations

from llm_perf_opt.reports.document import Block, Items, Section, Table
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes, significant


def section(facts: RunFacts) -> Section | None:
    measured = facts.headline
    if measured is None:
        return None
    workload = measured.workload
    blocks: list[Block] = [Table(("what", "value"), _rows(measured))]
    notes = [*measured.notes, *([workload.model.attention_note] if workload.model.attention_note else [])]
    errors = [f"sample {error.sample} ({error.source}) failed: {error.error}" for error in workload.errors]
    if notes or errors:
        blocks.append(Items(tuple(notes + errors)))
    return Section("Work", tuple(blocks))


def _rows(measured: Measured) -> tuple[tuple[str, str], ...]:
    workload = measured.workload
    model, batches = workload.model, workload.batches
    prompts = sorted(tokens for batch in batches for tokens in batch.prompt_tokens)
    images = sorted(tokens for batch in batches for tokens in batch.image_tokens)
    useful = sum(prompts)
    computed = sum(batch.padded_tokens * len(batch.prompt_tokens) for batch in batches)
    made = sum(sum(batch.repeats[-1].new_tokens) for batch in batches)
    rows = [
        ("model", f"{model.model_type} ({model.adapter}), {model.weights} weights"),
        ("parameters", f"{model.parameters:,} ({in_bytes(model.weight_bytes)} as {model.dtype})"),
        ("attention", model.attention),
        ("execution", f"{workload.execution}, {workload.cache} cache"),
        ("prompt tokens", _range(prompts)),
        ("of them image tokens", _range(images)),
        ("prompt tokens computed", f"{computed:,}, {computed - useful:,} of them padding"),
        ("new tokens", f"{made:,} in one pass over the samples"),
        ("loading", f"{significant(workload.load_s)} s"),
        ("launches", str(len(measured.launches))),
        ("warm-up runs", str(workload.warmup_runs)),
        ("work fingerprint", workload.work_fingerprint or "none: nothing ran"),
    ]
    return tuple(rows)


def _range(values: list[int]) -> str:
    if not values:
        return "none"
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} to {values[-1]:,}"


SECTION = ReportSection(60, section)
