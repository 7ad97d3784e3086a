"""The image path of one architecture: tokens and FLOPs, held against transformers' own on the CPU."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.analyze import describe
from llm_perf_opt.analysis.static.description import Description, Options
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.traced.processors import default_image_processor
from llm_perf_opt.analysis.traced.trace import trace_description
from llm_perf_opt.analysis.traced.vision import image_path
from llm_perf_opt.workload.families.made_up import image_tokens
from tests.walk.record import NONE, YES, blame, refusal

SIZE = (96, 64)
_ONCE = Pass(1, 0, 0, 0, full=True)
Figures = tuple[int, int]
"""Tokens of an image, and FLOPs of what makes them."""


def images(config: dict[str, Any]) -> str:
    """Whether every method that has an image path finds what transformers computes."""
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    if type(made) not in AutoModelForImageTextToText._model_mapping or not hasattr(made, "vision_config"):
        return NONE
    model = AutoModelForImageTextToText.from_config(made, attn_implementation="eager").eval()
    if image_path(model) is None:
        return "refused: its image path is a part of its forward pass, and nothing to compare with apart"
    try:
        truth = _truth(model, made)
    except Exception as error:
        return blame(error)
    answers = [_answer(lambda: trace_description(config, (SIZE,), "here"), truth)]
    if find_family(config["model_type"]) is not None:
        answers.append(_answer(lambda: describe(config, Options(images=(SIZE,))), truth))
    right = [answer for answer in answers if answer == YES]
    wrong = [answer for answer in answers if answer.startswith("differs")]
    return (wrong or right or answers)[0]


def _truth(model: Any, config: Any) -> Figures:
    processor = default_image_processor(config, "here")
    takes = inspect.signature(image_path(model)).parameters
    given = processor([Image.new("RGB", SIZE, "white")], return_tensors="pt")
    features = {name: value for name, value in dict(given).items() if name in takes}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tokens = sum(image_tokens(model, features))
    return tokens, int(counter.get_total_flops())


def _answer(description: Any, truth: Figures) -> str:
    try:
        found: Description = description()
    except Exception as error:
        return refusal(error)
    if found.vision is None:
        return f"refused: {found.vision_reason}"
    seen = found.vision((SIZE,))
    figures = seen.tokens, walk.flops(seen.blocks, _ONCE)
    if figures == truth:
        return YES
    names = ("tokens of an image", "FLOPs of its path")
    pairs = zip(names, figures, truth, strict=True)
    return f"differs: {'; '.join(f'{name} {ours} ≠ {right}' for name, ours, right in pairs if ours != right)}"
