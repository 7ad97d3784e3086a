"""Predictions: one JSON object per sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.measure import BatchWork, Measured

PREDICTIONS = "predictions.jsonl"


def write_predictions(directory: Path, inputs: Inputs, loaded: LoadedModel, measured: Measured, strip: bool) -> None:
    """Write `predictions.jsonl`, one object for every sample that was asked for, in input order.

    Keys: source, text (cleaned), text_raw, prompt_tokens, new_tokens, metrics of the last repeat, error.
    """
    rows: dict[int, dict[str, Any]] = {}
    for error in measured.errors:
        rows[error.sample] = _row(error.source, error=error.error)
    for work in measured.work:
        for row, sample in enumerate(work.samples):
            rows[sample] = _prediction(inputs.samples[sample].source, loaded, work, row, strip)
    lines = (json.dumps(rows[index], ensure_ascii=False) + "\n" for index in sorted(rows))
    write_text(directory / PREDICTIONS, "".join(lines))


def _row(source: str, **known: Any) -> dict[str, Any]:
    keys = ("text", "text_raw", "prompt_tokens", "new_tokens", "metrics", "error")
    return {"source": source, **{key: known.get(key) for key in keys}}


def _prediction(source: str, loaded: LoadedModel, work: BatchWork, row: int, strip: bool) -> dict[str, Any]:
    ids = work.generation.tokens[row]
    repeat = work.repeat
    return _row(
        source,
        text=loaded.clean_text(ids, strip_markup=strip),
        text_raw=loaded.raw_text(ids),
        prompt_tokens=work.batch.prompt_tokens[row],
        new_tokens=len(ids),
        metrics={
            "ttft_ms": repeat.ttft_ms,
            "prefill_ms": repeat.prefill_ms,
            "decode_ms": repeat.decode_ms,
            "e2e_ms": repeat.e2e_ms,
            "batch_rows": len(work.samples),
        },
    )
