"""Qwen3.5 with vision: Qwen3-VL's tower without its deep features, before gated-delta and full attention layers."""

from __future__ import annotations

from llm_perf_opt.analysis.static.description import Block, Family
from llm_perf_opt.analysis.static.families.qwen3_next import (
    QWEN35_MOE_ALIASES,
    QWEN35_MOE_TEXT,
    QWEN35_TEXT,
    qwen35_blocks,
)
from llm_perf_opt.analysis.static.families.qwen3_vl import TOP, VISION, with_vision
from llm_perf_opt.analysis.static.reader import Reader

_VISION = {key: value for key, value in VISION.items() if key != "deepstack_visual_indexes"}


def _decoder(text: Reader, tied: bool) -> tuple[Block, ...]:
    return qwen35_blocks(text, tied=tied)


FAMILIES = (
    Family("qwen3_5", TOP, with_vision(_decoder, QWEN35_TEXT, _VISION)),
    Family("qwen3_5_moe", TOP, with_vision(_decoder, QWEN35_MOE_TEXT, _VISION, QWEN35_MOE_ALIASES)),
)
