"""The loop makes the tokens that `generate()` makes."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from llm_perf_opt.config.presets import shipped_dir
from llm_perf_opt.config.schema import Config, Infer, Preprocess
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.adapters import demo
from llm_perf_opt.workload.families.image_text import instruction
from llm_perf_opt.workload.loaded import LoadedModel
from tests.tiny_models import IMAGE_TEXT, TEXT, write_image_text_model, write_text_model
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


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_image_text_models_equal_generate(
    name: str, rows: int, cache: Literal["dynamic", "static"], tmp_path: Path
) -> None:
    infer = Infer(max_new_tokens=12, batch_size=rows, cache=cache)
    loaded = load(write_image_text_model(tmp_path / name, name), infer, name="image_text")
    samples = []
    for number, size in enumerate([(60, 40), (40, 50)][:rows]):
        Image.new("RGB", size, (200 * number, 90, 40)).save(tmp_path / f"{number}.png")
        samples.append(image(tmp_path / f"{number}.png"))
    batch, generation = run(loaded, samples, infer)
    assert generation.tokens == reference(loaded, batch, infer)
    assert all(count > 0 for count in batch.image_tokens)
    assert len(batch.views) == rows
    assert "vision" in loaded.modules()


class _Processor:
    image_token = "<|image|>"

    def __init__(self, *, chat: bool) -> None:
        self.chat_template = "some" if chat else None

    def apply_chat_template(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        assert add_generation_prompt
        (message,) = messages
        return "".join(
            self.image_token if part["type"] == "image" else f"[{part['text']}]" for part in message["content"]
        )


@pytest.mark.parametrize(
    ("chat", "prompt_text", "expected"),
    [
        (False, "Read it.", "<|image|>\nRead it."),
        (False, "See <image>: read it.", "See <|image|>: read it."),
        (False, "See <|image|>: read it.", "See <|image|>: read it."),
        (True, "Read it.", "<|image|>[Read it.]"),
        (True, "<image>\nRead it.", "<|image|>[Read it.]"),
        (True, "<|image|>Read it.", "<|image|>[Read it.]"),
    ],
)
def test_the_image_has_one_place_in_the_prompt(chat: bool, prompt_text: str, expected: str) -> None:
    assert instruction(_Processor(chat=chat), prompt_text) == expected


def test_native_deepseek_ocr2_from_a_directory(tmp_path: Path) -> None:
    """The demo written as a checkpoint directory is the demo, with as many tiles as the real processor makes."""
    config = Config()
    (tmp_path / "config.json").write_text(json.dumps(demo.ADAPTER.model_config(config)))
    demo.processor().save_pretrained(tmp_path)
    Image.new("RGB", (800, 600), "white").save(tmp_path / "page.png")
    infer = Infer(max_new_tokens=4)
    preprocess = Preprocess(enable=True, base_size=1024, image_size=768, crop_mode=True)
    loaded = load(tmp_path, infer, name="deepseek_ocr2", preprocess=preprocess)
    batch, generation = run(loaded, [image(tmp_path / "page.png")], infer)
    assert generation.tokens == reference(loaded, batch, infer)
    assert batch.views == (((1024, 1024), *[(768, 768)] * 6),)
    assert set(loaded.modules()) == {"sam", "clip", "projector"}


@pytest.mark.parametrize(
    ("preprocess", "views"),
    [
        ({}, ((1024, 1024), (768, 768), (768, 768))),
        ({"base_size": 768, "image_size": 768}, ((768, 768), (768, 768), (768, 768))),
        ({"crop_mode": False}, ((768, 768),)),
        ({"crop_mode": False, "base_size": 1024, "image_size": 768}, ((768, 768),)),
        ({"crop_mode": False, "image_size": 1024}, ((1024, 1024),)),
    ],
    ids=str,
)
def test_preprocess_settings_reach_the_image_processor(
    preprocess: dict[str, Any], views: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    Image.new("RGB", (800, 1200), "white").save(tmp_path / "page.png")
    loaded = load(None, Infer(), name="demo", preprocess=Preprocess(enable=bool(preprocess), **preprocess))
    batch, generation = run(loaded, [image(tmp_path / "page.png")], Infer(max_new_tokens=2))
    assert batch.views == (views,)
    assert len(generation.tokens[0]) == 2


@pytest.mark.parametrize(("key", "side"), [("base_size", 640), ("image_size", 512)])
def test_view_sizes_without_queries_are_refused(key: str, side: int) -> None:
    with pytest.raises(ConfigError, match=f"model.preprocess.{key}: {side} is no size"):
        load(None, Infer(), name="demo", preprocess=Preprocess(enable=True, **{key: side}))  # type: ignore[arg-type]


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
