"""The loop makes the tokens that `generate()` makes."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.config.presets import shipped_dir
from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.loaded import LoadedModel
from tests.tiny_models import TEXT, write_text_model
from tests.unit.workload.models import PROMPTS, image, load, prompt, reference, run

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "temperature": 0.9, "seed": 3},
    "top_p": {"do_sample": True, "temperature": 1.3, "top_p": 0.7, "seed": 5},
    "no_repeat_ngram": {"no_repeat_ngram_size": 2},
    "fixed_length": {"stop_on_eos": False},
}


@functools.cache
def model(name: str) -> LoadedModel:
    if name == "demo":
        return load(None, Infer(), name="demo")
    return load(write_text_model(Path(tempfile.mkdtemp(prefix=f"llmperf-{name}-")), name), Infer())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", TEXT)
def test_text_models_equal_generate(name: str, rows: int, settings: dict[str, Any]) -> None:
    infer = Infer(max_new_tokens=24, batch_size=rows, **settings)
    loaded = model(name)
    batch, generation = run(loaded, [prompt(text) for text in PROMPTS[:rows]], infer)
    assert (batch.attention_mask is not None) == (rows > 1)
    assert generation.tokens == reference(loaded, batch, infer)


@pytest.mark.parametrize("settings", [{}, SETTINGS["top_p"], {"no_repeat_ngram_size": 3}], ids=str)
def test_demo_equals_generate(settings: dict[str, Any]) -> None:
    infer = Infer(max_new_tokens=8, **settings)
    loaded = model("demo")
    pages = sorted((shipped_dir() / "dataset" / "demo_pages").glob("*.png"))
    batch, generation = run(loaded, [image(pages[0])], infer)
    assert generation.tokens == reference(loaded, batch, infer)


@pytest.mark.parametrize("rows", [1, 3])
def test_end_of_sequence_ends_each_row(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever greedy decoding makes in its fifth step is declared the end."""
    loaded = model("llama")
    samples = [prompt(text) for text in PROMPTS[:rows]]
    free = Infer(max_new_tokens=24, batch_size=rows)
    _, unbounded = run(loaded, samples, free)
    ends = unbounded.tokens[0][4]
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", ends)
    monkeypatch.setattr(loaded, "eos_token_ids", (ends,))
    batch, generation = run(loaded, samples, free)
    assert generation.tokens == reference(loaded, batch, free)
    assert generation.tokens[0][-1] == ends
    assert len(generation.tokens[0]) <= 5
    assert len(generation.step_ms) == max(len(row) for row in generation.tokens) - 1


def test_one_token_needs_no_decoding() -> None:
    loaded = model("llama")
    infer = Infer(max_new_tokens=1)
    batch, generation = run(loaded, [prompt(PROMPTS[0])], infer)
    assert generation.tokens == reference(loaded, batch, infer)
    assert generation.decode_ms is None
    assert generation.step_ms == ()
