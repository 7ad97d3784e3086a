"""DeepSeek-OCR's first version, which runs code out of the model directory, and the permission that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llm_perf_opt.config.pipeline import Pipeline
from llm_perf_opt.config.schema import Config, Dataset, Infer, Model, Preprocess
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.run import plan_run
from llm_perf_opt.workload.adapter import find_adapter
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


def config_of(path: Path, *, stage: str, trusted: bool = False, **settings: Any) -> Config:
    """The demo's pages for the model at `path`, and one stage."""
    stages = {name: {"enable": name == stage} for name in ("static_analysis", "torch_profiler", "direct_inference")}
    stages[stage] |= settings
    model = Model(name="deepseek_ocr", path=str(path), trust_remote_code=trusted)
    return Config(model=model, dataset=Dataset(name="demo_pages"), pipeline=Pipeline.model_validate(stages))


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
        plan_run(config_of(path, stage="direct_inference"), tmp_path / "run")
    assert plan_run(config_of(path, stage="direct_inference", trusted=True), tmp_path / "run").stages


@pytest.mark.parametrize("synthetic", [True, False])
def test_static_analysis_alone_asks_for_no_permission(synthetic: bool, pages: list[Path], tmp_path: Path) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    config = config_of(path, stage="static_analysis", use_synthetic_inputs=synthetic)
    assert [stage.name for stage in plan_run(config, tmp_path / "run").stages] == ["static_analysis"]
    sizes = find_adapter("deepseek_ocr").sizes
    assert sizes is not None
    assert sizes(config, image(pages[0])).image_tokens == 273 + (20 + 1) * 30
    assert not (tmp_path / "ran").exists()


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
