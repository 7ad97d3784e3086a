"""Tracing a model into the description that its closed form would be: the child's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.description import Block, Description, Vision
from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.heads import no_decoding
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.traced.describe import Describer, blocks_of
from llm_perf_opt.analysis.traced.encoder import LONG, EncoderProber
from llm_perf_opt.analysis.traced.encoder_decoder import EncoderDecoderProber
from llm_perf_opt.analysis.traced.model import Built, build
from llm_perf_opt.analysis.traced.modules import decided_by_routing
from llm_perf_opt.analysis.traced.probe import LayersRunAgain, Prober, Traced, keeps_the_prompt
from llm_perf_opt.errors import ConfigError

Images = Sequence[tuple[int, int]]
_TRACE_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError)
_NOTES = (
    "traced on the meta device with transformers' own code; what grows with tokens and positions is told from "
    "short passes and checked on longer ones",
    "a recurrent state counts the recurrence itself, not the products of transformers' chunks",
)


def trace_description(
    config: Mapping[str, Any],
    images: Images,
    where: str,
    *,
    views: bool = False,
    pixel_limits: tuple[int, int] | None = None,
    deduplicate: bool = True,
) -> Description:
    """The operators of a model, found by running it without weights.

    Args:
        images: sizes of the images of a prompt, pixels; the vision path is that of these images.
        views: these are sizes of what goes through the tower, cut and resized already.
        pixel_limits: fewest and most pixels of an image whose shape is kept; None is as the type's processor has it.

    Raises:
        ConfigError: transformers cannot build the model, its forward pass needs values that meta tensors do not
            have, or its counts do not follow tokens and positions.
    """
    for own_attention in (False, True):
        built = build(config, where, own_attention=own_attention)
        try:
            return _description(built, images, views=views, pixel_limits=pixel_limits, deduplicate=deduplicate)
        except LayersRunAgain:
            return trace_description(config, images, where, views=views, pixel_limits=pixel_limits, deduplicate=False)
        except _TRACE_ERRORS as error:
            # Without a recorder the model makes its masks, which some need outside their attention.
            if built.recorder is None:
                raise ConfigError(
                    f"{where}: cannot be traced without weights: {type(error).__name__}: {error}",
                    "its forward pass needs real values; no figure is given rather than a wrong one",
                ) from error
    raise AssertionError("the second round has no recorder")


def _description(
    built: Built, images: Images, *, views: bool, pixel_limits: tuple[int, int] | None, deduplicate: bool
) -> Description:
    routing = decided_by_routing(built.model)
    if routing is not None:
        raise ConfigError(
            f"{built.where}: {routing}",
            "its FLOPs depend on weights and tokens; no figure is given rather than a wrong one",
        )
    prober = _prober(built)(built, deduplicate=deduplicate)
    probed = prober.probe()
    if probed.cache is None and not prober.keeps_nothing:
        raise ConfigError(
            f"{built.where}: the model leaves nothing in transformers' cache: its state is one of its own",
            "no figure is given rather than a wrong one",
        )
    describer = Describer(built, probed)
    blocks = blocks_of(describer, probed.passes)
    _check(prober, blocks)
    notes = list(_NOTES)
    if probed.all_logits:
        notes.append("this model computes the logits of every position, wanted or not")
    if any(map(keeps_the_prompt, getattr(prober.new_cache(), "layers", ()))):
        notes.append(
            "this model forgets new tokens that are older than its window, and never the prompt: counted as if "
            "it kept all, which is exact while the window is not full"
        )
    if prober.keeps_nothing and not built.is_encoder:
        notes.append("this model keeps nothing of what it has read: every step runs all tokens again")
    vision, reason = _vision(prober, describer, images, notes, views=views, pixel_limits=pixel_limits)
    blocks = (*blocks[:-1], *describer.idle(), blocks[-1])
    source = _source(prober, notes)
    positions = None if built.is_encoder else prober.positions(probed.passes[-1])
    return Description(blocks, vision, reason, tuple(notes), positions=positions, **source)


def _prober(built: Built) -> type[Prober]:
    if built.is_encoder:
        return EncoderProber
    return EncoderDecoderProber if built.has_encoder else Prober


def _source(prober: Prober, notes: list[str]) -> dict[str, Any]:
    """What a description says of an encoder that runs apart, or alone."""
    if isinstance(prober, EncoderProber):
        return {"no_decoding": no_decoding(type(prober.built.model).__name__), "source_limit": prober.limit}
    if not isinstance(prober, EncoderDecoderProber):
        return {}
    if prober.reads_text:
        notes.append("the encoder reads the prompt, once; the decoder begins with one token of its own")
        return {"prompt_is_source": True, "source_limit": prober.limit}
    notes.append(f"the encoder reads sound of {prober.source:,} positions, once; the prompt is the decoder's")
    return {"source": prober.source}


def _vision(
    prober: Prober,
    describer: Describer,
    images: Images,
    notes: list[str],
    *,
    views: bool,
    pixel_limits: tuple[int, int] | None,
) -> tuple[Any, str]:
    """The vision path of these images, or why there is none."""
    if getattr(prober.built.config, "vision_config", None) is None:
        return None, "this model takes no images"
    if not images:
        # Its weights are held all the same; see `Describer.idle`.
        return (lambda _: Vision((), 0)), ""
    try:
        passed, tokens = prober.vision(images, views=views, pixel_limits=pixel_limits)
    except _TRACE_ERRORS as error:
        return None, f"its image path cannot be traced: {type(error).__name__}: {error}"
    seen = Vision(blocks_of(describer, (passed,), vision=True), tokens, ("the vision path is traced too",))
    notes.append("image tokens are counted as text where the model lets them see each other both ways")
    return (lambda _: seen), ""


def _counted(traced: Traced, step: Pass) -> int:
    states = (call.detail for call in traced.calls if call.kind == "state")
    return sum(call.flops for call in traced.calls) + sum(
        state.flops(step) for state in states if isinstance(state, Recurrence | CausalConvolution | EntryAttention)
    )


def _check(prober: Prober, blocks: Sequence[Block]) -> None:
    """Compare the description with passes of other sizes: two sequences, past every window.

    Raises:
        ConfigError: they differ.
    """
    windows = [op.window for block in blocks for op in block.operators if isinstance(op, Attention) and op.window]
    if isinstance(prober, EncoderProber):
        limit = prober.limit
        _compare(prober, blocks, Pass(2, LONG if limit is None else min(LONG, limit), 0, 1, full=True), None)
        return
    source = prober.shift_source() if isinstance(prober, EncoderDecoderProber) else 0
    prompt = 23 if not windows else min(2 * max(windows) + 3, 100_000)
    positions = getattr(prober.built.text_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 1:
        prompt = min(prompt, positions - 1)
    cache = prober.new_cache()
    for queries, past in ((prompt, 0), (1, prompt)):
        _compare(prober, blocks, Pass(2, queries, past, 1, full=True, source=source), cache)


def _compare(prober: Prober, blocks: Sequence[Block], step: Pass, cache: Any) -> None:
    """Run one pass, and compare.

    Raises:
        ConfigError: it counts something else.
    """
    counted = _counted(prober.forward(step.queries, cache, past=step.past, batch=2), step)
    found = walk.flops(blocks, step)
    if counted != found:
        raise ConfigError(
            f"{prober.built.where}: traced counts do not follow tokens and positions: {counted:,} FLOPs at "
            f"{step.past + step.queries:,} positions, {found:,} by what short passes tell",
            "no figure is given rather than a wrong one",
        )
