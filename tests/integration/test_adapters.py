"""Real architectures, tiny and with random weights, through the command line: both stages that run the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm_perf_opt.config.schema import Config
from llm_perf_opt.workload.adapters import demo
from tests.cli_process import llmperf, read_json
from tests.remote_model import write_remote_model
from tests.tiny_models import write_image_text_model, write_text_model

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

# One for each adapter; every architecture runs in the process of tests/unit/workload.
CASES: Sequence[tuple[str, str]] = [
    ("causal_lm", "qwen3_moe"),
    ("image_text", "qwen2_5_vl"),
    ("deepseek_ocr2", "deepseek_ocr2"),
    ("deepseek_ocr", "deepseek_ocr"),
]


def write_model(adapter: str, name: str, folder: Path) -> Path:
    if adapter == "causal_lm":
        return write_text_model(folder, name)
    if adapter == "image_text":
        return write_image_text_model(folder, name)
    if adapter == "deepseek_ocr":
        return write_remote_model(folder, trace=folder / "ran")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(demo.model_config(Config())))
    demo.processor().save_pretrained(folder)
    return folder


def arguments_for(adapter: str, name: str, folder: Path) -> list[str]:
    """Two samples of different length in one batch."""
    data = folder / "data"
    data.mkdir()
    if adapter == "causal_lm":
        (data / "short.txt").write_text("one two three")
        (data / "long.txt").write_text("The quick brown fox jumps over the lazy dog")
    else:
        Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(data / "a.png")
        Image.linear_gradient("L").resize((500, 600)).convert("RGB").save(data / "b.png")
    return [
        f"model.name={adapter}",
        f"model.path={write_model(adapter, name, folder / 'model')}",
        "model.weights=random",
        "model.dtype=float32",
        f"model.trust_remote_code={json.dumps(adapter == 'deepseek_ocr')}",
        "model.preprocess.enable=false",
        f"dataset.root={data}",
        "dataset.fallback_patterns=['*.txt', '*.png']",
        "infer.batch_size=2",
        "infer.max_new_tokens=4",
        "measure.repeats=1",
        "pipeline.torch_profiler.warmup_rounds=0",
    ]


@pytest.mark.parametrize(("adapter", "name"), CASES, ids=[f"{adapter}-{name}" for adapter, name in CASES])
def test_it_runs_and_infers(adapter: str, name: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = arguments_for(adapter, name, tmp_path)
    both = ["pipeline.direct_inference.enable=true", "pipeline.direct_inference.output.prediction.enable=true"]
    finished = llmperf(["run", "--no-static", *arguments, *both, "--output", str(output)], tmp_path)
    assert finished.returncode == 0, finished.stderr
    stages = read_json(output / "run.json")["stages"]
    assert {stage: stages[stage]["status"] for stage in stages} == {
        "torch_profiler": "completed",
        "direct_inference": "completed",
    }
    records = {stage: read_json(output / stage / "workload.json") for stage in ("torch_profiler", "direct_inference")}
    for record in records.values():
        check(record, adapter)
    assert records["torch_profiler"]["work_fingerprint"] == records["direct_inference"]["work_fingerprint"]
    lines = (output / "direct_inference" / "pred" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["error"] for line in lines] == [None, None]


def check(record: dict[str, Any], adapter: str) -> None:
    assert record["errors"] == []
    (batch,) = record["batches"]
    assert len(batch["repeats"]) == 1
    assert max(batch["prompt_tokens"]) == batch["padded_tokens"]
    assert all(1 <= count <= 4 for repeat in batch["repeats"] for count in repeat["new_tokens"])
    if adapter != "causal_lm":
        assert batch["image_sizes"] == [[300, 200], [500, 600]]
        assert len(batch["views"]) == 2
        assert all(tokens > 0 for tokens in batch["image_tokens"])


def test_cuda_graphs_need_a_gpu(tmp_path: Path) -> None:
    mode = ["device=cpu", "infer.execution=cuda_graph", "infer.cache=static"]
    finished = llmperf(["infer", *mode], tmp_path)
    assert finished.returncode == 3
    assert "cuda_graph needs a CUDA device" in finished.stderr


@pytest.mark.parametrize("adapter", ["deepseek_ocr", "causal_lm"])
def test_remote_code_is_refused_before_it_runs(adapter: str, tmp_path: Path) -> None:
    path = write_remote_model(tmp_path / "model", trace=tmp_path / "ran")
    finished = llmperf(["infer", f"model.name={adapter}", f"model.path={path}", "dataset.prompt=x"], tmp_path)
    assert finished.returncode in (1, 2)
    assert "trust_remote_code: true" in finished.stderr
    assert not (tmp_path / "ran").exists()
