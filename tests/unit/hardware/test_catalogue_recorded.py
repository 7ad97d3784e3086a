"""The catalogue against what real devices told torch: name, units, capability, memory."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.hardware.catalogue import find_gpu

pytestmark = pytest.mark.real_data


def devices(trace: str) -> list[dict[str, Any]]:
    """Device properties in the head of a recorded torch trace."""
    repository = Path(__file__).resolve().parents[3]
    shared = Path(os.environ.get("LLMPERF_SHARED") or repository.parent / "shared")
    path = shared / "data/torch" / trace
    if not path.exists():
        pytest.skip(f"no recorded traces under {shared}; set LLMPERF_SHARED to the folder that holds data/")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)["deviceProperties"]
    return found


@pytest.mark.parametrize("trace", ["h100-qwen1.5-0.5b.json.gz", "b200-eager-vllm.json.gz"])
def test_a_known_device_is_what_the_catalogue_says(trace: str) -> None:
    for device in devices(trace):
        gpu = find_gpu(device["name"])
        assert gpu is not None
        assert gpu.sm_count == device["numSms"]
        assert gpu.compute_capability == f"{device['computeMajor']}.{device['computeMinor']}"
        # Drivers keep up to 2 % for themselves and never show more than is sold.
        assert 0.98 * gpu.memory_bytes <= device["totalGlobalMem"] <= gpu.memory_bytes


@pytest.mark.parametrize(
    "trace",
    [
        "a100-counters-no-kernels.json.gz",  # an A100 sold to one company under its board number
        "mi250-minitoy.json.gz",  # an old driver's "AMD Radeon Graphics"
        "vllm-decode-full-graph.json.gz",  # no name at all
    ],
)
def test_an_unnamed_or_special_device_stays_unknown(trace: str) -> None:
    assert all(find_gpu(device["name"]) is None for device in devices(trace))
