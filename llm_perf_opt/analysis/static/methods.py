"""Choosing how a model is analysed: closed form where there is one, else tracing, else a marked estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llm_perf_opt.analysis.static.analyze import analyze, describe, model_type_of
from llm_perf_opt.analysis.static.description import Description
from llm_perf_opt.analysis.static.estimate import UnknownType, like_known, marked
from llm_perf_opt.analysis.static.heads import check_decoder
from llm_perf_opt.analysis.static.reader import NotCovered
from llm_perf_opt.analysis.static.stored import StoredWeights
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
    stored: StoredWeights | None = None,
) -> StaticRecord:
    """The record of a model by the method asked for.

    Args:
        method: `auto` takes the closed form, and traces where there is none; of a type that transformers does not know
            it makes a marked estimate.
        fallback: with `auto`, let an estimate stand in too where tracing fails for another reason.
        stored: the weights as files hold them, where there are files.

    Raises:
        ConfigError: the config is malformed, or no method covers the model.
        StageError: the tracing child died.
    """
    if method != "traced":
        try:
            return analyze(config, request, gpus, where=where, stored=stored)
        except NotCovered:
            if method == "analytic":
                raise
    try:
        description = traced_description(config, request, where=where)
        return analyze(config, request, gpus, where=where, description=description, stored=stored)
    except LlmperfError as error:
        if method == "traced" or not (fallback or isinstance(error, UnknownType)):
            raise
        try:
            like, because = like_known(config, where)
            known = {**config, "model_type": like}
            record = static_record(known, request, gpus, fallback=False, where=where, stored=stored)
        except ConfigError as refusal:
            raise ConfigError(f"{error.message}; {refusal.message}", refusal.remedy or error.remedy) from error
        return marked(record, model_type_of(config, where), like, because, error.message)


def description_by(
    config: Mapping[str, Any], request: StaticRequest, *, method: Choice, where: str = "config.json"
) -> Description | None:
    """The traced description of a model, or None where its closed form is to be read.

    Raises:
        ConfigError: the config is malformed, or the method does not cover the model.
        StageError: the tracing child died.
    """
    if method != "traced":
        try:
            describe(config, where=where)
        except NotCovered:
            if method == "analytic":
                raise
        else:
            return None
    return traced_description(config, request, where=where)


def traced_description(config: Mapping[str, Any], request: StaticRequest, *, where: str) -> Description:
    """A model as tracing finds it, for the images of a request.

    Raises:
        ConfigError: tracing does not cover the model, or what the request asks of it.
        StageError: the tracing child died.
    """
    from llm_perf_opt.analysis.traced.launch import traced

    check_decoder(config, where)
    if request.mla_form != "reexpanded":
        raise ConfigError(
            f"{where}: --mla-form {request.mla_form} needs a closed form, and this model is traced",
            "leave it out: tracing runs latent attention as transformers does (reexpanded)",
        )
    cut = request.views is not None
    return traced(
        config,
        request.views or () if cut else request.images,
        views=cut,
        pixel_limits=request.pixel_limits,
        where=where,
    )
