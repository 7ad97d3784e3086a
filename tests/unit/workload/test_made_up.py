"""Samples of given sizes: exactly so many tokens, as static analysis counts them, without a tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.choice import with_model_chosen
from llm_perf_opt.workload.families.made_up import around
from llm_perf_opt.workload.inputs import find_inputs
from tests.tiny_models import IMAGE_TEXT, write_image_text_model, write_text_model
from tests.unit.workload.models import reference, run

pytest.importorskip("PIL")
SIZES = [
    ("llama", 2, ()),
    *((name, 1, images) for name in IMAGE_TEXT for images in ((), ((100, 60),))),
    ("qwen2_5_vl", 1, ((100, 60), (40, 40))),
]


def bare(folder: Path, name: str) -> Path:
    """A directory that holds only a config.json."""
    write = write_image_text_model if name in IMAGE_TEXT else write_text_model
    whole = write(folder / "whole", name)
    (folder / name).mkdir()
    shutil.copy(whole / "config.json", folder / name / "config.json")
    return folder / name


@pytest.mark.parametrize(("name", "rows", "images"), SIZES)
def test_a_directory_of_one_config_runs_and_agrees_with_static(
    name: str, rows: int, images: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    sizes = ",".join(f"{width}x{height}" for width, height in images)
    wanted = [f"infer.batch_size={rows}", "infer.max_new_tokens=3", "infer.stop_on_eos=false"]
    wanted += ["dataset.synthetic.prompt_tokens=20", f"dataset.synthetic.images=[{sizes}]", "device=cpu"]
    config = with_model_chosen(load_config(bare(tmp_path, name), wanted, environ={}).config)
    adapter = find_adapter(config.model.name)
    inputs = find_inputs(config.dataset, adapter.modality, rows=config.infer.batch_size)
    loaded = adapter.load(config, torch.device("cpu"))

    batch, generation = run(loaded, inputs.samples, config.infer)

    request = StaticRequest(prompt_tokens=20, new_tokens=3, images=images)
    static = static_record(adapter.model_config(config), request, fallback=False)
    assert static.phases.prefill is not None
    assert batch.prompt_tokens == (static.phases.prefill.tokens,) * rows
    assert batch.attention_mask is None
    assert generation.tokens == reference(loaded, batch, config.infer)
    assert loaded.prepare(inputs.samples).input_ids.equal(batch.input_ids)
    if rows > 1:
        assert not batch.input_ids[0].equal(batch.input_ids[1])
    assert loaded.clean_text([1, 2]) == "1 2"


def test_text_lies_around_images() -> None:
    assert around([1, 2, 3, 4], [2, 1], 9) == [1, 9, 9, 2, 9, 3, 4]
    assert around([1], [], 9) == [1]


def test_words_need_a_tokenizer(tmp_path: Path) -> None:
    config = with_model_chosen(load_config(bare(tmp_path, "llama"), ["dataset.prompt=Hello"], environ={}).config)
    with pytest.raises(MissingError, match="--prompt-tokens"):
        find_adapter("causal_lm").load(config, torch.device("cpu"))


def test_a_text_model_reads_no_images() -> None:
    dataset = load_config(None, ["dataset.synthetic.images=[3x3]"], environ={}).config.dataset
    with pytest.raises(ConfigError, match="reads no images"):
        find_inputs(dataset, "text")


def test_one_sample_fills_the_batch() -> None:
    dataset = load_config(None, ["dataset.prompt=Hello", "dataset.root=null"], environ={}).config.dataset
    assert find_inputs(dataset, "text", rows=3).epochs == ((0, 1, 2),)
