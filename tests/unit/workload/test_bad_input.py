"""Prompts, tokenizers and batches that do not fit."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.out_of_memory import OutOfMemoryInPhase
from tests.tiny_models import PAD, write_image_text_model, write_text_model, write_tokenizer
from tests.unit.workload.models import PROMPTS, image, load, prompt, reference, run

INFER = Infer(max_new_tokens=8)


def test_a_prompt_beyond_the_window_is_refused_with_the_numbers(tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None, max_position_embeddings=64), INFER)
    with pytest.raises(BadSampleError, match=r"prompt of 64 tokens does not fit the model's window of 64 tokens"):
        loaded.prepare([prompt("x" * 64)])
    assert loaded.prepare([prompt("x" * 63)]).padded_tokens == 63


def test_the_tokenizer_of_another_model_is_named(tmp_path: Path) -> None:
    tokens: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    loaded = load(write_text_model(tmp_path / "text", "llama", vocab_size=100, **tokens), INFER)
    with pytest.raises(BadSampleError, match=r"token \d+ of it, and the model has 100: it is the tokenizer of another"):
        loaded.prepare([prompt("~")])
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "page.png")
    path = write_image_text_model(tmp_path / "image", "llava")
    config = json.loads((path / "config.json").read_text())
    config["text_config"]["vocab_size"] = 100
    (path / "config.json").write_text(json.dumps({**config, **tokens, "image_token_index": 99}))
    with pytest.raises(BadSampleError, match="the tokenizer of another"):
        load(path, INFER, name="image_text").prepare([image(tmp_path / "page.png")])


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_ends_at_the_window(cache: Any, tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None, max_position_embeddings=64), INFER)
    _, generation = run(loaded, [prompt("x" * 60)], INFER.model_copy(update={"cache": cache}))
    assert len(generation.tokens[0]) == 4


def test_a_page_beyond_the_window_is_refused(tmp_path: Path) -> None:
    path = write_image_text_model(tmp_path / "model", "llava")
    config = json.loads((path / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 20
    (path / "config.json").write_text(json.dumps(config))
    from PIL import Image

    Image.new("RGB", (40, 40)).save(tmp_path / "page.png")
    loaded = load(path, INFER, name="image_text")
    with pytest.raises(BadSampleError, match=r"page\.png: its prompt of 37 tokens does not fit .* window of 20 tokens"):
        loaded.prepare([image(tmp_path / "page.png")])


@pytest.mark.parametrize("pad_token", [True, False])
def test_without_chat_template_the_prompt_is_taken_as_it_is(pad_token: bool, tmp_path: Path) -> None:
    path = write_text_model(tmp_path, "llama", chat_template=None)
    write_tokenizer(path, chat_template=None, pad_token=pad_token)
    loaded = load(path, INFER)
    assert loaded.tokenizer.decode(loaded.prepare([prompt("as it is")]).input_ids[0].tolist()) == "as it is"


def test_batches_without_any_pad_token(tmp_path: Path) -> None:
    """Padding is masked: the rows are those of `generate()` whatever the filler is."""
    path = write_text_model(tmp_path, "llama", pad_token_id=None, eos_token_id=None)
    write_tokenizer(path, pad_token=False)
    loaded = load(path, INFER)
    assert loaded.pad_token_id == 0
    samples = [prompt(text) for text in PROMPTS]
    batch, generation = run(loaded, samples, INFER)
    assert generation.tokens == reference(loaded, batch, INFER)
    assert batch.attention_mask is not None
    alone = [run(loaded, [sample], INFER)[1].tokens[0] for sample in samples]
    assert generation.tokens == alone


def test_batches_of_images_without_pad_token(tmp_path: Path) -> None:
    path = write_image_text_model(tmp_path / "model", "llava")
    write_tokenizer(path, chat_template=None, pad_token=False)
    loaded = load(path, INFER, name="image_text")
    assert loaded.tokenizer.pad_token is not None


def test_useful_and_padded_tokens_are_both_known(tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None), INFER)
    batch = loaded.prepare([prompt("four"), prompt("and eleven.")])
    assert batch.prompt_tokens == (4, 11)
    assert batch.padded_tokens == 11
    assert batch.input_ids[0, :7].tolist() == [PAD] * 7


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 7.79 GiB of which "
                "512.00 MiB is free. Including non-PyTorch memory"
            ),
            "1,610,612,736 bytes more were asked for "
            "(GPU 0 has a total capacity of 7.79 GiB of which 512.00 MiB is free)",
        ),
        (MemoryError(), "the system refused an allocation"),
    ],
    ids=["cuda", "host"],
)
def test_out_of_memory_names_phase_and_bytes(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None), INFER)

    def refuses(*_args: object, **_kwargs: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(loaded, "decode", refuses)
    with pytest.raises(OutOfMemoryInPhase) as caught:
        run(loaded, [prompt("some"), prompt("more")], INFER)
    assert caught.value.message == f"out of memory in decode (2 rows × 4 prompt tokens): {told}"
    assert "batch_size" in caught.value.remedy


def test_a_real_refusal_of_the_host_names_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None), INFER)
    monkeypatch.setattr(loaded, "prefill", lambda *_args: torch.empty(1 << 58, dtype=torch.uint8))
    with pytest.raises(OutOfMemoryInPhase, match=rf"in prefill .*: {1 << 58:,} bytes more were asked for"):
        run(loaded, [prompt("some")], INFER)


def test_other_errors_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write_text_model(tmp_path, "llama", chat_template=None), INFER)

    def refuses(*_args: object) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loaded, "prefill", refuses)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(loaded, [prompt("some")], INFER)


def test_a_model_type_that_transformers_does_not_know(tmp_path: Path) -> None:
    path = write_text_model(tmp_path, "llama", model_type="no_such_type")
    with pytest.raises(StageError, match="no_such_type"):
        load(path, INFER)


def test_a_directory_without_weights_or_tokenizer(tmp_path: Path) -> None:
    path = write_text_model(tmp_path, "llama")
    with pytest.raises(MissingError, match="is not a complete model"):
        load(path, INFER, weights="pretrained")
    (path / "tokenizer.json").unlink()
    (path / "tokenizer_config.json").unlink()
    with pytest.raises((MissingError, StageError)) as caught:
        load(path, INFER)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["demo", "dummy_shallow_resnet"])
def test_models_without_pretrained_weights(name: str) -> None:
    with pytest.raises(ConfigError, match="has no pretrained weights"):
        load(None, INFER, name=name, weights="pretrained")


class RunsCode:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_weights_that_are_damaged_or_hold_code(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from llm_perf_opt.config.load import load_config
    from llm_perf_opt.workload.building import load_checkpoint

    path = write_text_model(tmp_path / "model", "llama")
    settings = ["model.name=causal_lm", f"model.path={path}", "model.weights=pretrained"]
    config = load_config(None, settings, environ={}).config
    packed = io.BytesIO()
    torch.save({"a": RunsCode(tmp_path / "ran")}, packed)
    for name, content in [
        ("pytorch_model.bin", packed.getvalue()),
        ("pytorch_model.bin", pickle.dumps(RunsCode(tmp_path / "ran"), protocol=2)),
        ("pytorch_model.bin", b""),
        ("pytorch_model.bin", packed.getvalue()[:200]),
        ("model.safetensors", b"no weights" * 10),
        ("model.safetensors", b""),
    ]:
        (path / name).write_bytes(content)
        with pytest.raises(StageError, match=r"the weights of .*model cannot be read") as raised:
            load_checkpoint(AutoModelForCausalLM, config, torch.device("cpu"))
        assert raised.value.remedy
        assert "weights_only" not in str(raised.value)
        (path / name).unlink()
    assert not (tmp_path / "ran").exists()
