"""DeepSeek-OCR's first version, which runs code out of the model directory, and the permission that takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llm_perf_opt.config.schema import Config, Infer, Model, Preprocess
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.families.deepseek_ocr_v1 import ViewSizes, image_tokens, tile_grid
from tests.remote_model import write_remote_model
from tests.unit.workload.models import image, load, reference, run


@pytest.fixture(autouse=True)
def own_module_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers copies remote code into its cache before importing it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    paths = []
    for number, size in enumerate([(900, 1300), (300, 200)]):
        paths.append(tmp_path / f"page{number}.png")
        Image.linear_gradient("L").resize(size).convert("RGB").save(paths[-1])
    return paths


@pytest.mark.parametrize(
    ("preprocess", "rows", "views"),
    [
        ({}, 1, [(1024, 1024), *[(640, 640)] * 6]),
        ({}, 2, [(1024, 1024), *[(640, 640)] * 6]),
        ({"crop_mode": False, "image_size": 640}, 1, [(640, 640)]),
        ({"crop_mode": False, "image_size": 1024}, 2, [(1024, 1024)]),
    ],
    ids=str,
)
def test_equals_generate(
    preprocess: dict[str, Any], rows: int, views: list[tuple[int, int]], pages: list[Path], tmp_path: Path
) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    infer = Infer(max_new_tokens=6, batch_size=rows)
    loaded = load(
        path,
        infer,
        name="deepseek_ocr",
        trust_remote_code=True,
        preprocess=Preprocess(enable=bool(preprocess), **preprocess),
    )
    assert (tmp_path / "ran").exists()
    batch, generation = run(loaded, [image(page) for page in pages[:rows]], infer)
    assert generation.tokens == reference(loaded, batch, infer)
    assert list(batch.views[0]) == views
    assert set(loaded.modules()) == {"sam", "clip", "projector"}


def test_image_tokens_of_the_gundam_mode() -> None:
    """273 of the global view, and 10 queries a side of each tile, one more at the end of every row of them."""
    assert image_tokens(ViewSizes(), 1024, None) == 16 * 17 + 1 == 273
    assert image_tokens(ViewSizes(), 1024, (2, 3)) == 273 + (20 + 1) * 30


@pytest.mark.parametrize(
    ("size", "grid"), [((909, 615), (3, 2)), ((1000, 3000), (1, 3)), ((2000, 2000), (3, 3)), ((700, 700), (2, 2))]
)
def test_tile_grid(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert tile_grid(size, 640) == grid


@pytest.mark.parametrize("name", ["deepseek_ocr", "causal_lm", "image_text"])
def test_no_code_runs_without_permission(name: str, tmp_path: Path) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    with pytest.raises(ConfigError) as caught:
        load(path, Infer(), name=name)
    assert "trust_remote_code: true" in caught.value.remedy
    assert not (tmp_path / "ran").exists()


def test_the_parent_refuses_before_a_child_starts(tmp_path: Path) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    with pytest.raises(ConfigError, match="trust_remote_code is false"):
        find_adapter("deepseek_ocr").model_config(Config(model=Model(name="deepseek_ocr", path=str(path))))
    trusted = Config(model=Model(name="deepseek_ocr", path=str(path), trust_remote_code=True))
    assert find_adapter("deepseek_ocr").model_config(trusted) == json.loads((path / "config.json").read_text())


@pytest.mark.parametrize(
    "extra",
    ["from transformers.models.llama.modeling_llama import LlamaFlashAttention2", "import no_such_package_here"],
)
def test_code_for_another_transformers_says_what_to_install(extra: str, tmp_path: Path) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran", extra=extra)
    with pytest.raises(MissingError, match=r"targets transformers 4\.46") as caught:
        load(path, Infer(), name="deepseek_ocr", trust_remote_code=True)
    assert "transformers==4.46.3" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_causal_lm_runs_trusted_code(tmp_path: Path) -> None:
    """The general adapter loads it too, as text."""
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    loaded = load(path, Infer(), trust_remote_code=True)
    assert type(loaded.model).__name__ == "DeepseekOCRForCausalLM"
    assert isinstance(loaded.model, torch.nn.Module)
