"""Weights that are not the model's are an error that names them; random ones are reproducible, in their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.checkpoint import tensor_bytes
from tests.tiny_models import write_text_model
from tests.unit.workload.models import load

INFER = Infer(max_new_tokens=1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of a tiny Llama."""
    path = write_text_model(tmp_path / "model", "llama", chat_template=None, tie_word_embeddings=False)
    load(path, INFER).model.save_pretrained(path)
    return path


def changed(path: Path, **tensors: torch.Tensor | None) -> Path:
    file = path / "model.safetensors"
    found = {**load_file(file), **tensors}
    save_file({name: value for name, value in found.items() if value is not None}, file, {"format": "pt"})
    return path


def read(path: Path) -> Any:
    return load(path, INFER, weights="pretrained")


def test_what_was_saved_is_read(saved: Path) -> None:
    first, again = load(saved, INFER), read(saved)
    assert not again.built.is_random
    assert again.built.notes == ()
    for name, value in first.model.state_dict().items():
        assert again.model.state_dict()[name].equal(value), name


def test_missing_tensors_are_named(saved: Path) -> None:
    with pytest.raises(StageError, match=r"lacks 1 tensors of a LlamaForCausalLM: model\.norm\.weight"):
        read(changed(saved, **{"model.norm.weight": None}))


def test_tensors_of_another_shape_are_named(saved: Path) -> None:
    with pytest.raises(StageError, match=r"model\.norm\.weight \(3,\) for \(64,\)"):
        read(changed(saved, **{"model.norm.weight": torch.ones(3)}))


def test_a_little_more_is_told_with_its_bytes(saved: Path) -> None:
    (note,) = read(changed(saved, extra=torch.ones(10))).built.notes
    assert "extra (40 bytes)" in note


def test_much_more_is_an_error(saved: Path) -> None:
    with pytest.raises(StageError, match=r"40,000 of .* bytes .* extra \(40,000 bytes\)"):
        read(changed(saved, extra=torch.ones(10_000)))


@pytest.mark.parametrize("name", ["mtp.fc.weight", "model.layers.2.mlp.up_proj.weight", "pooler.dense.weight"])
def test_what_checkpoints_ordinarily_hold_beside_is_told_whatever_its_size(name: str, saved: Path) -> None:
    (note,) = read(changed(saved, **{name: torch.ones(10_000)})).built.notes
    assert name in note


def test_another_head_is_an_error_whatever_its_size(saved: Path) -> None:
    file = saved / "config.json"
    file.write_text(file.read_text().replace("LlamaForCausalLM", "LlamaForSomethingElse"))
    with pytest.raises(StageError, match=r"LlamaForSomethingElse, not of LlamaForCausalLM.*score\.weight"):
        read(changed(saved, **{"score.weight": torch.ones(1)}))


def test_bytes_of_both_kinds_of_file(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3, 4, dtype=torch.bfloat16), "b": torch.zeros(5)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert tensor_bytes(tmp_path) == {"a": 24, "b": 20}
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert tensor_bytes(tmp_path) == {"a": 24, "b": 20}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_random_weights_are_of_one_seed_and_in_their_type(dtype: str, tmp_path: Path) -> None:
    path = write_text_model(tmp_path / "model", "llama", tie_word_embeddings=False)
    one, same, other = (load(path, INFER, dtype=dtype, seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert {value.dtype for value in one.values()} == {getattr(torch, dtype)}
    assert all(one[name].equal(same[name]) for name in one)
    name = "model.layers.1.mlp.up_proj.weight"
    assert not one[name].equal(other[name])
    assert not one[name].equal(one[name.replace("layers.1", "layers.0")])
    # As `initializer_range` says, within what 8,192 draws may differ from it.
    assert abs(float(one[name].float().std()) - 0.1) < 0.005
    assert abs(float(one[name].float().mean())) < 0.005
