"""The work of one real generation: what a run's MFU and MBU are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.analyze import describe
from llm_perf_opt.analysis.static.description import Block, ImageSize, Options
from llm_perf_opt.analysis.static.passes import Pass, decode_run, prefill
from llm_perf_opt.analysis.static.precision import Precision, resolve
from llm_perf_opt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ForwardCost:
    """FLOPs, and the least bytes that must move for them."""

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GenerationCost:
    """One batch from its prompts to its last token.

    `padded` counts what the device computes on equally long rows, `useful` only the real tokens of each
    sequence. Weights are read once per pass in both.
    """

    vision: ForwardCost | None
    """Part of prefill; None without images."""
    prefill: ForwardCost
    prefill_useful: ForwardCost
    decode: ForwardCost
    """All decode steps, each at its own context."""
    decode_useful: ForwardCost
    decode_steps: int


def _weights(blocks: Sequence[Block], step: Pass, precision: Precision) -> float:
    return sum(
        operator.weights_read(step)[0] * block.repeat * precision.weight_bytes(block, operator)
        for block in walk.owned(blocks)
        for operator in block.operators
    )


def _work(blocks: Sequence[Block], whole: Pass, parts: Sequence[Pass], precision: Precision) -> ForwardCost:
    """Weights read once for the `whole` batch; FLOPs and cache of the `parts` it consists of."""
    cached = sum(walk.remembered_traffic(blocks, part, precision) for part in parts)
    flops = sum(walk.flops(blocks, part) for part in parts)
    return ForwardCost(flops, round(_weights(blocks, whole, precision) + cached))


def _options(mla_form: str, views: Sequence[ImageSize] | None, images: Sequence[ImageSize]) -> Options:
    return Options(mla_form, tuple(views) if views else None, tuple(images))


def generation_cost(
    model_config: Mapping[str, Any],
    *,
    prompt_tokens: Sequence[int],
    new_tokens: int,
    padded_tokens: int | None = None,
    images: Sequence[ImageSize] = (),
    views: Sequence[ImageSize] | None = None,
    dtype: str | None = None,
    kv_dtype: str | None = None,
    attention_flops: str = "causal",
    logits: str = "last",
    mla_form: str = "reexpanded",
    where: str = "config.json",
) -> GenerationCost:
    """Exact FLOPs of transformers' own code, and least bytes, of one generated batch.

    Args:
        model_config: `config.json` as a mapping.
        prompt_tokens: real tokens of each prompt of the batch, as the decoder sees them (image tokens included).
        new_tokens: tokens generated per sequence; the first comes from prefill.
        padded_tokens: length the prompts were padded to; None is the longest of them.
        images: sizes of the images of each prompt, resized and tiled as the model's processor does by default.
        views: instead of `images`: sizes of the views of the whole batch that really went through the encoder.

    Raises:
        ConfigError: the config is malformed, or its model type has no closed form (`NotCovered`).
    """
    if not prompt_tokens or min(prompt_tokens) < 1 or new_tokens < 1:
        raise ConfigError("a generation needs prompts and new tokens of at least one token", "give real token counts")
    description = describe(model_config, _options(mla_form, views, images), where=where)
    precision = resolve(model_config, dtype, kv_dtype)
    batch, padded = len(prompt_tokens), padded_tokens or max(prompt_tokens)
    every, full = logits == "all", attention_flops == "full"
    decoder, steps = description.blocks, new_tokens - 1

    seen: ForwardCost | None = None
    if images or views:
        if description.vision is None:
            raise ConfigError(f"{where}: images were given, but {description.vision_reason}", "leave the images out")
        once = Pass(1 if views else batch, 0, 0, 0, full=full)
        seen = _work(description.vision(tuple(images)).blocks, once, (once,), precision)

    def phase(whole: Pass, parts: Sequence[Pass], extra: ForwardCost | None = None) -> ForwardCost:
        counted = _work(decoder, whole, parts, precision)
        return ForwardCost(counted.flops + extra.flops, counted.bytes + extra.bytes) if extra else counted

    prompt = prefill(batch, padded, all_logits=every, full=full)
    real_prompts = [prefill(1, tokens, all_logits=every, full=full) for tokens in prompt_tokens]
    prefilled = phase(prompt, (prompt,), seen), phase(prompt, real_prompts, seen)
    decoded = ForwardCost(0, 0), ForwardCost(0, 0)
    if steps:
        run = decode_run(batch, padded, steps)
        decoded = phase(run, (run,)), phase(run, [decode_run(1, tokens, steps) for tokens in prompt_tokens])
    return GenerationCost(seen, prefilled[0], prefilled[1], decoded[0], decoded[1], steps)
