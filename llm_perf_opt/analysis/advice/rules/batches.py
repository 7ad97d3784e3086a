"""How samples are put together."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.rule import END_TO_END, Case, Rule, amdahl, part_of_end_to_end, percent
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.workload import Workload

PADDED = "tokens computed in prefill for each token of a prompt"


def padding(evidence: Evidence) -> Iterator[Case]:
    for piece in evidence.each(Workload):
        batches = piece.record.batches
        computed = sum(len(batch.prompt_tokens) * batch.padded_tokens for batch in batches)
        useful = sum(sum(batch.prompt_tokens) for batch in batches)
        if not useful or not computed:
            continue
        waste = 1 - useful / computed
        prefill = part_of_end_to_end(piece, "prefill")
        source = f"{piece.file}: batches[].padded_tokens, prompt_tokens"
        yield Case(
            sentence=f"Padding is {percent(waste)} of what prefill computes: prompts of one batch are of different "
            "lengths.",
            figures=(AdviceFigure(name=PADDED, value=computed / useful, unit="tokens", source=source), prefill),
            change="Put prompts of like length together (the order of dataset.subset_filelist, randomize: false), or "
            "lower infer.batch_size.",
            saving=amdahl(waste * prefill.value, END_TO_END, "padding took no time and time grew with tokens"),
        )


RULES = (
    Rule(
        name="padding",
        about="Prompts are padded to the longest of their batch, by more than a tenth in all.",
        figure=PADDED,
        above=1.1,
        tried_on="a run of a tiny Llama on a batch of two prompts",
        cases=padding,
    ),
)
