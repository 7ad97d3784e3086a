"""Architectures of transformers, examined anew: all with `pytest -m walk`, a sample of odd ones in the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.mark.walk
@pytest.mark.parametrize("model_type", sorted(read()))
def test_answers_are_the_recorded_ones(model_type: str, tmp_path: Path) -> None:
    from tests.walk.examine import examine

    found, recorded = examine(model_type, tmp_path), read()[model_type]
    assert {question: outcome(answer) for question, answer in found.answers.items()} == {
        question: outcome(answer) for question, answer in recorded.answers.items()
    }, found
