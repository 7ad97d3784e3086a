"""What-if sweeps: a model described once, its phases counted at every combination of sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.analyze import context_of, decode_rows, describe_model, need_of, prefill_rows
from llm_perf_opt.analysis.static.bounds import Limits, bound, limits
from llm_perf_opt.analysis.static.description import Description
from llm_perf_opt.analysis.static.stored import StoredWeights
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.records.static_sweep import StaticSweep, SweepGpu, SweepPoint

AXES = {"batch": "batch", "context": "context", "prompt": "prompt_tokens"}
"""What can be swept -> the field of the request."""
MOST_POINTS = 100_000
_NUMBER = re.compile(r"(\d+)([kKmM]?)")
_ELLIPSES = ("…", "...")
_SCALES = {"": 1, "k": 1024, "m": 1024 * 1024}


def _number(text: str, option: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ConfigError(f"{option}: {text!r} is no size", "write whole numbers, 4k for 4096: batch=1,2,4,…,256")
    return int(match[1]) * _SCALES[match[2].lower()]


def _continued(before: Sequence[int], last: int, option: str) -> list[int]:
    """What an ellipsis stands for: the series of the two numbers before it, doubling after a single one."""
    if len(before) == 1:
        step, factor = 0, 2
    else:
        first, second = before[-2:]
        exact = first > 0 and second % first == 0 and second > first
        # 1, 2, … doubles; 8, 16, 24, … adds.
        series = len(before) >= 3 and before[-1] - before[-2] == before[-2] - before[-3]
        factor, step = (second // first, 0) if exact and not series else (1, second - first)
    values: list[int] = []
    current = before[-1]
    while True:
        current = current * factor + step
        if current <= before[-1] or len(values) > MOST_POINTS:
            raise ConfigError(f"{option}: the series does not grow", "write growing numbers around the ellipsis")
        if current >= last:
            return [*values, last]
        values.append(current)


def parse_axis(text: str) -> tuple[str, tuple[int, ...]]:
    """`batch=1,2,4,…,256` as (batch, values); `...` and `…` continue the series before them.

    Raises:
        ConfigError: an unknown axis, or values that are no sizes.
    """
    option = f"--sweep {text}"
    name, separator, listed = text.partition("=")
    if not separator or name not in AXES:
        raise ConfigError(f"{option}: no axis {name!r}", f"sweep one of {', '.join(AXES)}: batch=1,2,4,8")
    values: list[int] = []
    pending = False
    for item in (part.strip() for part in listed.split(",")):
        if item in _ELLIPSES:
            if not values or pending:
                raise ConfigError(f"{option}: an ellipsis needs a number before it", "write batch=1,2,4,…,256")
            pending = True
            continue
        value = _number(item, option)
        values.extend(_continued(values, value, option) if pending else [value])
        pending = False
    least = 0 if name == "context" else 1
    if pending or not values or min(values) < least:
        raise ConfigError(f"{option}: not a list of sizes", f"write numbers of {least} or more, one after the ellipsis")
    return name, tuple(dict.fromkeys(values))


def _requests(base: StaticRequest, axes: Mapping[str, Sequence[int]]) -> Iterator[StaticRequest]:
    names = [AXES[name] for name in axes]
    for values in product(*axes.values()):
        yield base.model_copy(update=dict(zip(names, values, strict=True)))


def sweep(
    model_config: Mapping[str, Any],
    base: StaticRequest,
    axes: Mapping[str, Sequence[int]],
    gpus: Sequence[Gpu] = (),
    *,
    where: str = "config.json",
    description: Description | None = None,
    stored: StoredWeights | None = None,
) -> StaticSweep:
    """Prefill and decode of a model at every combination of the axes' values.

    Args:
        description: the model as traced; None reads its closed form.
        stored: the weights as files hold them, where there are files.

    Raises:
        ConfigError: a malformed config, or more combinations than `MOST_POINTS`.
    """
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_POINTS:
        raise ConfigError(f"--sweep: {count:,} combinations, more than {MOST_POINTS:,}", "sweep fewer values")
    prepared = describe_model(model_config, base, where=where, description=description, stored=stored)
    base, decodes = prepared.fitted(base), not prepared.description.no_decoding
    if "context" in axes:
        prepared.check_decodes("--sweep context")
    known: dict[str, Limits] = {}
    points: list[SweepPoint] = []
    done: set[tuple[int, int]] = set()
    for request in _requests(base, axes):
        prepared.check_positions(request)
        need = need_of(prepared, request) if gpus else None
        phases = [("decode", decode_rows(prepared, request), request.batch)] if decodes else []
        if (request.batch, request.prompt_tokens) not in done:
            # Prefill does not depend on the context.
            done.add((request.batch, request.prompt_tokens))
            tokens = request.batch * prepared.read(request)
            phases.insert(0, ("prefill", prefill_rows(prepared, request), tokens))
        for name, rows, tokens in phases:
            plain = _point(request, context_of(prepared, request) if name == "decode" else None, name, rows)
            if need is None:
                points.append(plain)
            for gpu in gpus:
                limit = known.setdefault(gpu.id, limits(gpu, rows, prepared.precision))
                figures = bound(rows, tokens, limit)
                points.append(
                    replace(
                        plain,
                        gpu=gpu.id,
                        compute_ms=figures.compute_ms,
                        memory_ms=figures.memory_ms,
                        bound_ms=figures.bound_ms,
                        limited_by=figures.limited_by,
                        tokens_per_s=figures.tokens_per_s,
                        fits=need.fit(gpu, request.batch).fits if need else None,
                    )
                )
    dtype = prepared.precision.dtype
    swept = (SweepGpu(name, limit.peaks.get(dtype), limit.bandwidth) for name, limit in known.items())
    return StaticSweep(prepared.model_type, dtype, tuple(swept), tuple(points))


def _point(request: StaticRequest, context: int | None, name: str, rows: Sequence[walk.Row]) -> SweepPoint:
    flops = sum(row.flops for row in rows)
    weights, kv = round(sum(row.weight_least for row in rows)), round(sum(row.kv for row in rows))
    state = round(sum(row.state for row in rows))
    return SweepPoint(
        batch=request.batch,
        prompt_tokens=request.prompt_tokens,
        context=context,
        phase=name,
        flops=flops,
        weight_bytes=weights,
        kv_bytes=kv,
        state_bytes=state,
        bytes=weights + kv + state,
        arithmetic_intensity=flops / (weights + kv + state),
    )
