"""SmolLM2-135M-Instruct with its real weights, offline, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli_process import llmperf, read_json
from tests.real_model import smollm2_gguf

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

QUESTION = "What is the capital of France?"
PRESET = "model/causal_lm/arch@model=causal_lm.default"


def test_a_gguf_file_says_paris_and_its_work_is_counted(tmp_path: Path) -> None:
    """Read as it is, which dequantizes it."""
    finished = llmperf(
        [
            *("run", "--output", "run", PRESET, f"model.path={smollm2_gguf()}", "dataset.root=null"),
            *(f"dataset.prompt={QUESTION}", "infer.max_new_tokens=12", "measure.repeats=2"),
            "pipeline.torch_profiler.output.prediction.enable=true",
            # Not this machine's: the ratios must be the counted work over peak and time, whatever the peak.
            *("hardware.peak_tflops=1000", "hardware.memory_bandwidth_gbs=100000"),
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    (line,) = (tmp_path / "run" / "torch_profiler" / "pred" / "predictions.jsonl").read_text().splitlines()
    prediction = json.loads(line)
    assert "Paris" in prediction["text"]
    assert prediction["text_raw"].startswith(prediction["text"])

    record = read_json(tmp_path / "run" / "torch_profiler" / "workload.json")
    static = read_json(tmp_path / "run" / "static_analysis" / "static_compute.json")
    assert record["model"]["parameters"] == static["model"]["parameters"] == 134_515_008
    metrics = read_json(tmp_path / "run" / "torch_profiler" / "metrics.json")["metrics"]
    (batch,) = record["batches"]
    tokens = batch["prompt_tokens"][0]
    # 2 FLOPs for each matrix weight and token; attention over SmolLM2's 30 layers of 9 heads of 64; the head once.
    layers, hidden, ffn, kv = 30, 576, 1536, 192
    weights = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * ffn)
    flops = 2 * weights * tokens + 2 * hidden * 49152 + layers * 4 * hidden * tokens * (tokens + 1) // 2
    for ratio, repeat in zip(metrics["prefill.mfu"]["samples"], batch["repeats"], strict=True):
        assert ratio == pytest.approx(flops / (1000e12 * repeat["prefill_ms"] / 1e3), rel=1e-9)


def test_prompt_files_and_a_file_list(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "france.txt").write_text(QUESTION)
    (prompts / "brief.md").write_text(f"{QUESTION} Answer in one word.")  # longer: the other one is padded
    (prompts / "unused.txt").write_text("Nothing.")
    (tmp_path / "list.txt").write_text("brief.md\n\nfrance.txt\n")
    finished = llmperf(
        [
            *("infer", "--output", "run", PRESET, f"model.path={smollm2_gguf()}", "dataset.root=prompts"),
            *("dataset.subset_filelist=list.txt", "infer.batch_size=2", "infer.max_new_tokens=12", "measure.repeats=1"),
            "pipeline.direct_inference.output.prediction.enable=true",
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    lines = (tmp_path / "run" / "direct_inference" / "pred" / "predictions.jsonl").read_text().splitlines()
    brief, france = (json.loads(line) for line in lines)
    assert (Path(brief["source"]).name, Path(france["source"]).name) == ("brief.md", "france.txt")
    assert "Paris" in brief["text"]
    assert "Paris" in france["text"]


@pytest.mark.real_data
def test_real_pages_go_through_the_demo(tmp_path: Path, shared_data: Path) -> None:
    pages = shared_data / "pages"
    finished = llmperf(
        [
            *("infer", "--output", "run", f"dataset.root={pages}", "measure.repeats=1", "infer.max_new_tokens=4"),
            "pipeline.direct_inference.output.prediction.enable=true",
        ],
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    text = (tmp_path / "run" / "direct_inference" / "pred" / "predictions.jsonl").read_text()
    sources = [Path(json.loads(line)["source"]) for line in text.splitlines()]
    assert sources == sorted(pages.glob("*.png"))
    record = read_json(tmp_path / "run" / "direct_inference" / "workload.json")
    assert all(tokens > 500 for batch in record["batches"] for tokens in batch["image_tokens"])
