"""Architectures of transformers, examined anew: all with `pytest -m walk`, a sample of odd ones in the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.errors import ConfigError
from tests.walk.record import YES, outcome, read

pytestmark = pytest.mark.integration
# Counts positions from 0 in each step; sparse attention; a past of its own class; state alone; a list of no layers that
# differ; a bias made of the mask; no past at all, and biases that only a constructor sets.
SAMPLE = ("bamba", "bloom", "deepseek_v32", "gemma4_text", "mamba2", "minimax", "openai-gpt")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    import torch
    from transformers.utils import logging

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_sample_makes_the_tokens_of_generate(model_type: str, tmp_path: Path) -> None:
    from tests.walk.examine import examine

    found = examine(model_type, tmp_path)
    assert (found.run, found.infer) == (YES, YES)
    assert {question: outcome(answer) for question, answer in found.answers.items()} == {
        question: outcome(answer) for question, answer in read()[model_type].answers.items()
    }


# Compressed keys; routers and indexers that look into their values; a convolution over what is cached; a recurrence
# that is written as multiply and sum; a latent cache with a window; an encoder before the decoder; stacked experts.
FIGURES = (
    *("deepseek_v4", "glm5_next", "jetmoe", "qwen4_exp_text", "zaya", "recurrent_gemma", "dots3_note_text", "mvp"),
    "dbrx",
)


def small_config(model_type: str, folder: Path) -> dict[str, Any]:
    from llm_perf_opt.analysis.static.source import read_config
    from tests.walk.examine import _upstream

    (folder / "config.json").write_text(_upstream(model_type)[0], encoding="utf-8")
    return dict(read_config(folder)[0])


@pytest.mark.parametrize("model_type", FIGURES)
def test_figures_are_those_that_torch_counts(model_type: str, tmp_path: Path) -> None:
    from tests.walk.examine import _static

    assert _static(small_config(model_type, tmp_path))["traced"] == YES


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [("longcat_flash", "of a token's experts are of these"), ("diffusion_gemma", "does not decode token by token")],
)
def test_what_has_no_one_number_of_flops_says_why(model_type: str, reason: str, tmp_path: Path) -> None:
    from llm_perf_opt.analysis.traced.trace import trace_description

    with pytest.raises(ConfigError, match=reason):
        trace_description(small_config(model_type, tmp_path), (), "here")


# A mask made of pixels; tiles; sizes that are written down; a grid of patches.
@pytest.mark.parametrize("model_type", ["smolvlm", "llava_next", "internvl", "glm4v"])
def test_an_image_is_seen_as_transformers_sees_it(model_type: str, tmp_path: Path) -> None:
    from tests.walk.images import images

    assert images(small_config(model_type, tmp_path)) == YES


@pytest.mark.walk
@pytest.mark.parametrize("model_type", sorted(read()))
def test_answers_are_the_recorded_ones(model_type: str, tmp_path: Path) -> None:
    from tests.walk.examine import examine

    found, recorded = examine(model_type, tmp_path), read()[model_type]
    assert {question: outcome(answer) for question, answer in found.answers.items()} == {
        question: outcome(answer) for question, answer in recorded.answers.items()
    }, found
