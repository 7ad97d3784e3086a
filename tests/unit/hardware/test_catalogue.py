"""The catalogue's figures are dense, sourced, and follow from units, clock and rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware import catalogue
from llm_perf_opt.hardware.catalogue import GPUS_DIR, find_gpu, gpu_named, load_catalogue, near_names
from llm_perf_opt.hardware.gpu import DTYPES, HIGH_PRECISION, Gpu

CATALOGUE = load_catalogue()
BY_ID = {gpu.id: gpu for gpu in CATALOGUE}

# Dense operations (a multiply and an add are two) per clock and per SM or compute unit, by architecture, from the
# white papers of each: operands and accumulator → rate. GeForce boards accumulate in FP32 at half rate.
_FP32_256 = {("fp32", "fp32"): 256}
RATES: dict[str, dict[tuple[str, str], int]] = {
    "volta": {("fp64", "fp64"): 64, ("fp32", "fp32"): 128, ("fp16", "fp32"): 1024, ("fp16", "fp16"): 1024},
    "turing": {("fp32", "fp32"): 128, ("fp16", "fp32"): 1024, ("int8", "int32"): 2048},
    "ga100": {
        ("fp64", "fp64"): 64, ("fp64_matrix", "fp64"): 128, ("fp32", "fp32"): 128, ("tf32", "fp32"): 1024,
        ("bf16", "fp32"): 2048, ("fp16", "fp32"): 2048, ("fp16", "fp16"): 2048, ("int8", "int32"): 4096,
    },
    "ga10x": _FP32_256 | {
        ("tf32", "fp32"): 512, ("bf16", "fp32"): 1024, ("fp16", "fp32"): 1024, ("fp16", "fp16"): 1024,
        ("int8", "int32"): 2048,
    },
    "ada": _FP32_256 | {
        ("tf32", "fp32"): 512, ("bf16", "fp32"): 1024, ("fp16", "fp32"): 1024, ("fp16", "fp16"): 1024,
        ("fp8", "fp32"): 2048, ("fp8", "fp16"): 2048, ("int8", "int32"): 2048,
    },
    "hopper": _FP32_256 | {
        ("fp64", "fp64"): 128, ("fp64_matrix", "fp64"): 256, ("tf32", "fp32"): 2048, ("bf16", "fp32"): 4096,
        ("fp16", "fp32"): 4096, ("fp16", "fp16"): 4096, ("fp8", "fp32"): 8192, ("fp8", "fp16"): 8192,
        ("int8", "int32"): 8192,
    },
    "blackwell": _FP32_256 | {
        ("fp64", "fp64"): 128, ("fp64_matrix", "fp64"): 128, ("tf32", "fp32"): 4096, ("bf16", "fp32"): 8192,
        ("fp16", "fp32"): 8192, ("fp8", "fp32"): 16384, ("int8", "int32"): 16384, ("fp4", "fp32"): 32768,
    },
    "blackwell_ultra": _FP32_256 | {
        ("fp64", "fp64"): 4, ("fp64_matrix", "fp64"): 4, ("tf32", "fp32"): 4096, ("bf16", "fp32"): 8192,
        ("fp16", "fp32"): 8192, ("fp8", "fp32"): 16384, ("fp4", "fp32"): 49152,
    },
    "rtx_blackwell": _FP32_256 | {
        ("tf32", "fp32"): 512, ("bf16", "fp32"): 1024, ("fp16", "fp32"): 1024, ("fp16", "fp16"): 1024,
        ("fp8", "fp32"): 2048, ("fp8", "fp16"): 2048, ("int8", "int32"): 2048, ("fp4", "fp32"): 4096,
    },
    "cdna2": {
        ("fp64", "fp64"): 128, ("fp64_matrix", "fp64"): 256, ("fp32", "fp32"): 128, ("fp32_matrix", "fp32"): 256,
        ("bf16", "fp32"): 1024, ("fp16", "fp32"): 1024, ("int8", "int32"): 1024,
    },
    "cdna3": _FP32_256 | {
        ("fp64", "fp64"): 128, ("fp64_matrix", "fp64"): 256, ("fp32_matrix", "fp32"): 256, ("tf32", "fp32"): 1024,
        ("bf16", "fp32"): 2048, ("fp16", "fp32"): 2048, ("fp8", "fp32"): 4096, ("int8", "int32"): 4096,
    },
    "cdna4": _FP32_256 | {
        ("fp64", "fp64"): 128, ("fp64_matrix", "fp64"): 128, ("fp32_matrix", "fp32"): 256, ("bf16", "fp32"): 4096,
        ("fp16", "fp32"): 4096, ("fp8", "fp32"): 8192, ("fp4", "fp32"): 16384, ("int8", "int32"): 8192,
    },
}  # fmt: skip

# Publishers round, some to two digits; a peak with sparsity would be 100 % off, a wrong rate at least 33 %.
ROUNDING = 0.02
# Chips whose tensor cores were cut below the rate of their architecture: fraction of it.
CUT_TENSOR_RATE = {"h20": 0.25}
# Highest clock any chip of the generation is sold with, MHz: bounds what an unpublished clock may be.
CLOCK_BOUNDS = {"hopper": (1500, 2250), "blackwell": (1800, 2100), "blackwell_ultra": (1800, 2100)}


def rate(gpu: Gpu, dtype: str, accumulate: str) -> float:
    full = RATES[gpu.architecture][dtype, accumulate]
    geforce_half = gpu.id.startswith("rtx-") and "pro" not in gpu.id and accumulate == "fp32"
    if dtype in HIGH_PRECISION:
        return full
    return full / 2 if geforce_half and dtype != "fp4" else full * CUT_TENSOR_RATE.get(gpu.id, 1.0)


def peaks() -> list[Any]:
    return [
        pytest.param(gpu, dtype, accumulate, tflops, id=f"{gpu.id}-{dtype}-{accumulate}")
        for gpu in CATALOGUE
        for dtype, by_accumulate in gpu.dense_peak_tflops.items()
        for accumulate, tflops in by_accumulate.items()
    ]


@pytest.mark.parametrize(("gpu", "dtype", "accumulate", "tflops"), peaks())
def test_peak_follows_from_units_clock_and_rate(gpu: Gpu, dtype: str, accumulate: str, tflops: float) -> None:
    assert gpu.sm_count is not None
    operations_per_clock = gpu.sm_count * rate(gpu, dtype, accumulate)
    clock_mhz = gpu.high_precision_clock_mhz if dtype in HIGH_PRECISION else gpu.low_precision_clock_mhz
    if clock_mhz is not None:
        assert tflops == pytest.approx(operations_per_clock * clock_mhz * 1e-6, rel=ROUNDING)
        return
    # Without a published clock the figure must still imply one that the chip can run at.
    implied_mhz = tflops * 1e6 / operations_per_clock
    low, high = CLOCK_BOUNDS.get(gpu.architecture, (1600, 2600))
    assert low <= implied_mhz <= high, f"{gpu.id} {dtype}: implies {implied_mhz:.0f} MHz"


@pytest.mark.parametrize("gpu", CATALOGUE, ids=lambda gpu: gpu.id)
def test_every_figure_has_sources_or_a_reason(gpu: Gpu) -> None:
    assert gpu.id in {path.stem for path in GPUS_DIR.glob("*.yaml")}
    assert all(urls for urls in gpu.sources.values())
    assert all(len(reason) > 10 for reason in gpu.missing.values())
    for dtype in DTYPES:
        peak = gpu.peak_flops(dtype)
        assert (peak is not None and peak.sources) or gpu.why_no_peak(dtype)


def test_the_file_is_named_after_the_gpu() -> None:
    for path in GPUS_DIR.glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["id"] == path.stem


def test_no_two_gpus_share_a_name() -> None:
    owner: dict[str, str] = {}
    for gpu in CATALOGUE:
        for name in (gpu.id, *gpu.driver_names):
            assert owner.setdefault(name.lower(), gpu.id) == gpu.id


def test_the_gpus_people_ask_for_are_there() -> None:
    wanted = (
        "v100 t4 a10 a100-sxm4-40gb a100-sxm4-80gb a100-pcie-40gb a100-pcie-80gb l4 l40s h100-sxm5 h100-pcie h100-nvl "
        "h200 h800 h20 gh200 b200 b300 gb200 rtx-3090 rtx-4090 rtx-5090 rtx-pro-6000 mi250x mi300x mi325x mi355x"
    )
    for start in wanted.split():
        assert any(gpu_id.startswith(start) for gpu_id in BY_ID), start


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm5"),
        ("nvidia geforce rtx 5090", "rtx-5090"),
        ("A100-SXM4-80GB", "a100-sxm4-80gb"),
        (" mi300x ", "mi300x"),
        ("Tesla T4", "t4"),
        ("AMD Instinct MI250X / MI250", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 5090 Laptop GPU", None),
        ("NVIDIA H100", None),
        ("h100", None),
        ("100", None),
        ("", None),
        ("sources:", None),
    ],
)
def test_only_exact_names_match(name: str, expected: str | None) -> None:
    found = find_gpu(name)
    assert (found.id if found else None) == expected


@given(st.sampled_from(CATALOGUE), st.data())
def test_any_name_finds_its_gpu_in_any_case(gpu: Gpu, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from((gpu.id, *gpu.driver_names)))
    spelt = "".join(data.draw(st.sampled_from((c.upper(), c.lower()))) for c in name)
    assert find_gpu(spelt) == gpu


@given(st.text(max_size=40))
def test_no_text_is_taken_for_a_gpu_by_likeness(text: str) -> None:
    found = find_gpu(text)
    if found is not None:
        assert text.strip().lower() in {found.id, *(name.lower() for name in found.driver_names)}


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    assert near_names("H100")[0].startswith("h100")
    assert near_names("NVIDIA GeForce RTX 4090 Ti")[0] == "rtx-4090"
    with pytest.raises(ConfigError) as caught:
        gpu_named("h100-sxm")
    assert "h100-sxm5" in caught.value.remedy


def test_a_lookup_parses_only_the_files_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = catalogue._parse.__wrapped__

    def recorded(path: Path) -> Gpu:
        parsed.append(path.stem)
        return parse(path)

    monkeypatch.setattr(catalogue, "_parse", recorded)
    assert find_gpu("NVIDIA GeForce RTX 5090") is not None
    assert parsed == ["rtx-5090"]


def test_accumulate_types_are_told_apart() -> None:
    geforce = BY_ID["rtx-4090"]
    half, full = geforce.peak_flops("fp16"), geforce.peak_flops("fp16", "fp16")
    assert half is not None and full is not None
    assert full.flops_per_s == pytest.approx(2 * half.flops_per_s, rel=1e-3)
    assert half.accumulate == "fp32"
    hopper = BY_ID["h100-sxm5"].peak_flops("int8")
    assert hopper is not None and hopper.accumulate == "int32"
    assert BY_ID["v100-sxm2-16gb"].peak_flops("bf16") is None
    assert "BF16" in BY_ID["v100-sxm2-16gb"].why_no_peak("bf16")
    assert BY_ID["l4"].peak_flops("fp16", "fp16") is None
    assert "fp16" in BY_ID["l4"].why_no_peak("fp16", "fp16")


def test_a_peak_scales_to_the_observed_clock() -> None:
    peak = BY_ID["rtx-5090"].peak_flops("bf16")
    assert peak is not None and peak.clock_mhz == 2407
    assert peak.at_clock(2 * 2407) == pytest.approx(2 * peak.flops_per_s)
    unknown = BY_ID["h100-nvl"].peak_flops("bf16")
    assert unknown is not None and unknown.at_clock(1500) is None


def test_a_file_that_hides_a_gap_or_a_source_is_refused() -> None:
    plain = yaml.safe_load((GPUS_DIR / "l4.yaml").read_text(encoding="utf-8"))
    Gpu.model_validate(plain)
    for broken in (
        {**plain, "l2_bytes": None},
        {**plain, "missing": {}},
        {**plain, "missing": {**plain["missing"], "bf16": "we have one though"}},
        {**plain, "sources": {key: urls for key, urls in plain["sources"].items() if key != "compute"}},
        {**plain, "sources": {**plain["sources"], "memory": ["a friend"]}},
        {**plain, "speed": 1},
        {**plain, "dense_peak_tflops": {"fp7": {"fp32": 1.0}}},
    ):
        with pytest.raises(ValidationError):
            Gpu.model_validate(broken)
