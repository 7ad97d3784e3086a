"""On a real GPU: what stand-ins cannot prove. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.records.memory import MemoryPeak
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.tools.discovery import find_tool
from tests.cli_process import llmperf, read_json
from tests.tiny_models import write_text_model

GPUS = detect_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.integration,
    pytest.mark.skipif(not GPUS.gpus, reason=f"no NVIDIA GPU: {GPUS.none_because}"),
]
FIXED = ["infer.stop_on_eos=false", "infer.max_new_tokens=24", "measure.repeats=2"]
MODES = [("eager", "dynamic"), ("eager", "static"), ("compile", "static"), ("cuda_graph", "static")]


def infer(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    """The workload record of a tiny Llama on the GPU."""
    model = folder / "llama"
    if not model.exists():
        model = write_text_model(folder, "llama")
    finished = llmperf(
        [
            *("infer", "--output", name, "device=cuda", "model/causal_lm/arch@model=causal_lm.default"),
            *(f"model.path={model}", "model.weights=random", "dataset.prompt=Hello, world.", *FIXED, *arguments),
        ],
        folder,
    )
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = read_json(folder / name / "direct_inference" / "workload.json")
    return found


def test_every_mode_makes_the_same_tokens_and_states_its_hardware(tmp_path: Path) -> None:
    prints = set()
    for execution, cache in MODES:
        record = infer(tmp_path, f"{execution}-{cache}", f"infer.execution={execution}", f"infer.cache={cache}")
        assert record["device"]["device"].startswith("cuda:")
        assert record["hardware"]["reason"] is None
        assert all(repeat["decode_ms"] > 0 for batch in record["batches"] for repeat in batch["repeats"])
        prints.add((execution, record["work_fingerprint"]))
    # The fingerprint covers the execution mode; both eager runs did the same work.
    assert len(prints) == len({execution for execution, _ in MODES})


def test_the_profiler_records_kernels_by_phase(tmp_path: Path) -> None:
    finished = llmperf(["torch", "--output", "run", "device=cuda", "measure.repeats=1"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    kernels = ProfileTables.read(tmp_path / "run" / "torch_profiler" / "profile.sqlite").kernels
    assert {"prefill", "decode"} <= {row.phase for row in kernels}
    assert all(row.total_ns >= row.max_ns > 0 for row in kernels)


@pytest.mark.parametrize("name", ["nsys", "ncu"])
def test_a_real_capture_is_not_empty(tmp_path: Path, name: str) -> None:
    if find_tool("nsys" if name == "nsys" else "ncu") is None:
        pytest.skip(f"{name} is not installed")
    gate = ["--capture-range", "nvtx", "--nvtx-capture", "decode"] if name == "nsys" else []
    finished = llmperf([name, "--output", "run", "device=cuda", "measure.repeats=1", *gate], tmp_path, timeout_s=600)
    assert finished.returncode == 0, finished.stderr
    assert read_json(tmp_path / "run" / "run.json")["stages"][name]["status"] == "completed"


def test_the_parts_of_the_memory_peak_are_what_the_allocator_says(tmp_path: Path) -> None:
    finished = llmperf(["run", "--no-static", "--no-torch", "--memory", "--output", "run"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    found = MemoryPeak.read(tmp_path / "run" / "memory" / "memory.json")
    assert found.device.startswith("cuda")
    assert found.peak_bytes == found.tallied_bytes
    assert found.allocator_peak_bytes is not None and found.unexplained_bytes is not None
    assert found.allocator_peak_bytes == found.peak_bytes + found.unexplained_bytes
    assert 0 <= found.unexplained_bytes <= 0.05 * found.allocator_peak_bytes
    assert found.snapshot is None or (tmp_path / "run" / "memory" / found.snapshot).stat().st_size > 0
