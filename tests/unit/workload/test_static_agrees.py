"""Static analysis counts what a run of the same configuration computes, for every adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm_perf_opt.analysis.cost import cost_of
from llm_perf_opt.analysis.metrics import Peaks, stage_metrics
from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.config.pipeline import Pipeline
from llm_perf_opt.config.schema import Config, Dataset, Infer, Measure, Model
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.records.inputs import Inputs, Sample, SampleSizes
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.records.workload import BatchResult, Workload
from llm_perf_opt.stages.base import StageContext
from llm_perf_opt.stages.static_analysis import StaticAnalysis, execute
from llm_perf_opt.stages.static_analysis.sizes import sizes_of
from llm_perf_opt.workload.adapter import check_preprocess, find_adapter
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.job import execute as run_order
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.preprocess import PROCESSOR_FILES, pixel_limits
from tests.records import NOT_WATCHED
from tests.unit.static.configs import DEEPSEEK_OCR
from tests.unit.workload.adapter_cases import CASES, Case, install_example

PEAK = 1e15
NEW_TOKENS = 3
SAYS_NO_SIZES = "dummy_shallow_resnet"
SAYING = [case for case in CASES if case.adapter != SAYS_NO_SIZES]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example adapter is installed, and transformers copies remote code into a folder of the test."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    for folder in install_example(tmp_path / "installed"):
        monkeypatch.syspath_prepend(folder)


def config_of(case: Case, folder: Path) -> Config:
    path = case.write(folder / "model")
    model: dict[str, Any] = {"name": case.adapter, "path": None if path is None else str(path), **dict(case.model)}
    return Config(
        device="cpu",
        model=Model(weights="random", **model),
        infer=Infer(max_new_tokens=NEW_TOKENS, stop_on_eos=False),
        dataset=Dataset(prompt="Read." if not case.texts else None),
        measure=Measure(warmup=0, repeats=1),
        pipeline=Pipeline.model_validate({"static_analysis": {"use_synthetic_inputs": False}}),
    )


def in_this_process(sample: Sample, config: Config, adapter: Any) -> SampleSizes:
    """What the child would answer."""
    sizes: SampleSizes = adapter.sizes(config, sample)
    return sizes


@pytest.mark.parametrize("case", SAYING, ids=[case.id for case in SAYING])
def test_the_first_sample_counts_as_it_runs(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "sizes_of", in_this_process)
    config = config_of(case, tmp_path)
    (sample,) = case.samples(tmp_path, 1)
    adapter = find_adapter(case.adapter)
    inputs = Inputs(samples=(sample,), epochs=((0,),))
    record = run(config, inputs, tmp_path)
    (batch,) = record.batches
    settings = config.pipeline.first(StaticAnalysis)
    context = StageContext("static_analysis", settings, config, tmp_path, inputs, progress=None)  # type: ignore[arg-type]
    request = execute.request_of(context, adapter)
    assert request.prompt_tokens + (request.image_tokens or 0) == batch.prompt_tokens[0] == batch.padded_tokens
    assert (request.views or ()) == (batch.views[0] if batch.views else ())
    assert request.image_tokens in (None, batch.image_tokens[0])
    model_config = adapter.model_config(config)
    if case.adapter == "deepseek_ocr":
        # What stands in for its code has sizes of its own: counted are the same views and tokens in the real one.
        model_config = DEEPSEEK_OCR
        record = record.model_copy(update={"model": record.model.model_copy(update={"config": dict(DEEPSEEK_OCR)})})
    # Nothing of an image goes uncounted.
    assert case.texts or request.views
    static = analyze(model_config, request)
    assert static.phases.prefill is not None
    assert static.phases.generation is not None
    work = cost_of(record, config.infer, "causal", "last")
    figures = stage_metrics(record, NOT_WATCHED, work, Peaks(PEAK, PEAK, "a made-up device")).metrics
    (repeat,) = batch.repeats
    assert repeat.decode_ms is not None
    assert flops(figures["prefill.mfu"].samples, repeat.prefill_ms) == static.phases.prefill.flops
    decode = static.phases.generation.flops - static.phases.prefill.flops
    assert flops(figures["decode.mfu"].samples, repeat.decode_ms) == decode


SIZES: tuple[dict[str, Any], ...] = (
    {"size": {"shortest_edge": 6272, "longest_edge": 12544}},
    {"min_pixels": 6272, "max_pixels": 12544},
    {},
)
"""What a model's files say of the pixels of an image: as now, as before, nothing."""


@pytest.mark.parametrize("said", SIZES, ids=["size", "pixels", "nothing"])
def test_images_of_a_size_count_as_the_models_files_resize_them(said: dict[str, Any], tmp_path: Path) -> None:
    case = next(case for case in CASES if case.id == "image_text-qwen2_5_vl")
    config = config_of(case, tmp_path)
    folder = Path(config.model.path or "")
    file = next(folder / name for name in PROCESSOR_FILES if (folder / name).is_file())
    held = json.loads(file.read_bytes())
    processor = held.get("image_processor", held)
    del processor["size"]
    processor |= said
    file.write_text(json.dumps(held))
    (sample,) = case.samples(tmp_path, 1)
    adapter = find_adapter(case.adapter)
    real = in_this_process(sample, config, adapter)
    with Image.open(sample.path or "") as image:
        request = StaticRequest(prompt_tokens=1, images=(image.size,), pixel_limits=pixel_limits(folder))
    static = analyze(adapter.model_config(config), request)
    assert static.phases.prefill is not None
    assert static.phases.prefill.tokens - 1 == real.image_tokens


def flops(mfu: tuple[float, ...], time_ms: float) -> int:
    (only,) = mfu
    return round(only * PEAK * time_ms / 1e3)


def run(config: Config, inputs: Inputs, folder: Path) -> Workload:
    """What the child measures."""
    order = WorkOrder(
        stage="direct_inference",
        config=config,
        inputs=inputs,
        scratch_dir=folder,
        output_dir=folder,
    )
    run_order(order, EventWriter(folder / "events.jsonl"))
    return Workload.read(folder / "workload.json")


def test_rows_with_different_views_count_each_its_own(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.adapter == "demo")
    config = config_of(case, tmp_path)
    samples = tuple(case.samples(tmp_path, 2))

    def vision_flops(*chosen: int, rows: int) -> tuple[int, BatchResult]:
        batched = config.model_copy(update={"infer": config.infer.model_copy(update={"batch_size": rows})})
        record = run(batched, Inputs(samples=samples, epochs=(chosen,)), tmp_path)
        (batch,) = record.batches
        work = cost_of(record, batched.infer, "causal", "last")(batch)
        assert not isinstance(work, str)
        text = generation_cost(record.model.config, prompt_tokens=batch.prompt_tokens, new_tokens=1)
        return work.prefill_flops - text.prefill.flops, batch

    tiled, _ = vision_flops(0, rows=1)
    plain, _ = vision_flops(1, rows=1)
    both, batch = vision_flops(0, 1, rows=2)
    assert [len(views) for views in batch.views] == [3, 1]
    assert both == tiled + plain > 0


def test_an_adapter_that_cannot_tell_says_so(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.adapter == SAYS_NO_SIZES)
    (sample,) = case.samples(tmp_path, 1)
    with pytest.raises(StageError, match="does not say what a sample becomes"):
        sizes_of(sample, config_of(case, tmp_path), find_adapter(case.adapter))


FIXED = [("patch_size", 14), ("downsample_ratio", 2)]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *((name, key, value) for name in ("demo", "deepseek_ocr") for key, value in FIXED),
        ("demo", "base_size", 640),
        ("demo", "image_size", 512),
        ("deepseek_ocr", "image_size", 8),
        ("causal_lm", "base_size", 512),
        ("image_text", "crop_mode", False),
        ("dummy_shallow_resnet", "image_size", 512),
    ],
)
def test_a_key_that_cannot_be_honoured_is_named(name: str, key: str, value: object) -> None:
    model = {"name": name, "preprocess": {"enable": True, key: value}}
    with pytest.raises(ConfigError, match=f"model.preprocess.{key}"):
        check_preprocess(find_adapter(name), Config(model=Model.model_validate(model)))
    # What does not apply is not asked for.
    off = {"name": name, "preprocess": {"enable": False, key: value}}
    check_preprocess(find_adapter(name), Config(model=Model.model_validate(off)))


@pytest.mark.parametrize("name", ["demo", "deepseek_ocr"])
def test_what_the_weights_were_made_for_may_be_written_down(name: str) -> None:
    model = {"name": name, "preprocess": {"enable": True, "patch_size": 16, "downsample_ratio": 4}}
    check_preprocess(find_adapter(name), Config(model=Model.model_validate(model)))
