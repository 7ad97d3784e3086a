"""Choosing how a model is analysed: closed form where there is one, else tracing, else a marked estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.bounds import on_gpu_from_totals
from llm_perf_opt.analysis.static.estimate import estimate
from llm_perf_opt.analysis.static.reader import NotCovered
from llm_perf_opt.errors import ConfigError, LlmperfError
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.records.static import StaticRecord, StaticRequest

Choice = Literal["auto", "analytic", "traced"]


def static_record(
    config: Mapping[str, Any],
    request: StaticRequest,
    gpus: Sequence[Gpu] = (),
    *,
    method: Choice = "auto",
    fallback: bool = True,
    where: str = "config.json",
) -> StaticRecord:
    """The record of a model by the method asked for.

    Args:
        method: `auto` takes the closed form, and traces where there is none.
        fallback: with `auto`, let a marked estimate stand in where tracing fails too.

    Raises:
        ConfigError: the config is malformed, or no method covers the model.
        StageError: the tracing child died.
    """
    if method != "traced":
        try:
            return analyze(config, request, gpus, where=where)
        except NotCovered:
            if method == "analytic":
                raise
    try:
        return _traced(config, request, gpus, where)
    except LlmperfError as error:
        if method == "traced" or not fallback:
            raise
        try:
            return estimate(config, request, gpus, where=where, because=error.message)
        except ConfigError as refusal:
            raise ConfigError(f"{error.message}; {refusal.message}", error.remedy or refusal.remedy) from error


def _traced(config: Mapping[str, Any], request: StaticRequest, gpus: Sequence[Gpu], where: str) -> StaticRecord:
    from llm_perf_opt.analysis.traced.launch import traced

    record = traced(config, request, where=where)
    return record.model_copy(update={"gpus": tuple(on_gpu_from_totals(gpu, record) for gpu in gpus)})
