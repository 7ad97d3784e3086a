"""One identity for a kernel whichever tool recorded it."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import json
import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.analysis.kernel_names import category, communicates, demangled, identity, short_name
from llm_perf_opt.formats.nsys_export import KERNELS

SAME = [
    [
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::<unnamed>::silu_kernel(at::"
        "TensorIteratorBase &)::[lambda() (instance 1)]::operator ()() const::[lambda() (instance 6)]::operator ()() "
        "const::[lambda(c10::BFloat16) (instance 1)], std::array<char *, (unsigned long)2>>(int, T2, T3)",
        "void vectorized_elementwise_kernel<4, unnamed>::silu_kernel(TensorIteratorBase &)::[lambda() (instance 1)]::"
        "operator ()() lambda() (instance 6)]::operator ()() lambda(BFloat16) (instance 1)], array<char *, 2>>"
        "(int, T2, T3)",
        "void at::native::vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::silu_kernel(at::"
        "TensorIteratorBase&)::{lambda()#1}::operator()() const::{lambda()#6}::operator()() const::{lambda("
        "c10::BFloat16)#1}, std::array<char*, 2ul> >(int, at::native::(anonymous namespace)::silu_kernel(at::"
        "TensorIteratorBase&), std::array<char*, 2ul>)",
    ],
    [
        "std::enable_if<!T7, void>::type internal::gemvx::kernel<int, float, (bool)0, (bool)1, (int)7>(T13)",
        "enable_if<!T7, void>::type kernel<int, float, 0, 1, 7>(T13)",
        "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, float, false, true, 7>(cublasParams<int>)",
    ],
    [
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_64x64>(T1::Params)",
        "void Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_64x64>(Params)",
    ],
]


@pytest.mark.parametrize("names", SAME, ids=lambda names: short_name(names[0]))
def test_three_spellings_are_one_kernel(names: list[str]) -> None:
    assert len({identity(name) for name in names}) == 1
    assert len({short_name(name) for name in names}) == 1


def test_kernels_that_differ_stay_apart() -> None:
    one = (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, array<char*, 3ul> >(int)"
    )
    assert identity(one) != identity(one.replace("<4", "<8"))
    assert identity(one) != identity(one.replace("<float>", "<double>"))


CATEGORIES = {
    "void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*)": "communication",
    "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)": "communication",
    "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*)": "communication",
    "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(vllm::RankData*)": "communication",
    "nvjet_tst_144x128_64x6_2x1_v_bz_bias_TNN": "GEMM",
    "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT32x32x256": "GEMM",
    "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128> >(flash::Flash_fwd_params)": "attention",
    "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16>(long const*)": "cache",
    "void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float>(float*)": "softmax",
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float>(int)": "norm",
    "void at::native::reduce_kernel<512, 1, ReduceOp<float, at::native::MeanOps<float> > >(T3)": "reduction",
    "triton_poi_fused_add_0": "Triton",
    "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw": "convolution",
    "void fbgemm_gpu::permute_2D_lengths_kernel<int>(int)": "copy",
    "saxpy(int, float*)": "other",
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories(name: str) -> None:
    assert category(name) == CATEGORIES[name]
    assert communicates(name) == (CATEGORIES[name] == "communication")


def test_nested_names_of_mangled_ones_are_read() -> None:
    assert short_name("_Z22ncclDevKernel_SendRecv24ncclDevKernelArgsStorageILm4096EE") == "ncclDevKernel_SendRecv"
    mangled = "_ZN2at6native29vectorized_elementwise_kernelILi128ENS0_13BUnaryFunctorIfffNS0_10MulFunctorIfEEEEEvv"
    assert short_name(mangled) == "vectorized_elementwise_kernel MulFunctor"
    assert demangled("_ZN7ck_tile6kentryILi1EEEvv") == "ck_tile::kentry<ILi1EEEvv>"
    assert demangled("_Zfoo") == "_Zfoo"
    assert short_name("x" * 100).endswith("…")


@functools.cache
def recorded(data: Path) -> dict[str, frozenset[str]]:
    """Tool → the names of kernels in its recorded files; `base` and `mangled`: other spellings of nsys's."""
    found: dict[str, set[str]] = {"nsys": set(), "torch": set(), "ncu": set(), "base": set(), "mangled": set()}
    for path in (data / "nsys").glob("*kern_sum.csv"):
        with path.open(encoding="utf-8") as file:
            found["nsys"] |= {row["Name"] for row in csv.DictReader(file)}
    for path in (data / "nsys").glob("*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as export:
            for kind, column in (("nsys", "demangledName"), ("base", "shortName"), ("mangled", "mangledName")):
                query = f"SELECT DISTINCT value FROM {KERNELS} JOIN StringIds ON id = {column}"
                with contextlib.suppress(sqlite3.OperationalError):
                    found[kind] |= {name for (name,) in export.execute(query)}
    for name in ("b200-eager-vllm", "h100-qwen1.5-0.5b", "vllm-decode-full-graph"):
        trace = json.loads(gzip.decompress((data / "torch" / f"{name}.json.gz").read_bytes()))
        found["torch"] |= {event["name"] for event in trace["traceEvents"] if event.get("cat") == "kernel"}
    for path in (data / "ncu" / "dsocr-rtx5090-v1").glob("kernel_*/ncu.details.csv"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("==")]
        found["ncu"] |= {row["Kernel Name"] for row in csv.DictReader(lines)}
    return {kind: frozenset(names) for kind, names in found.items()}


# Kernels that two tools recorded in these files. The others of one short name differ in their template arguments.
IN_COMMON = {("nsys", "ncu"): 18, ("nsys", "torch"): 23, ("ncu", "torch"): 10}


@pytest.mark.real_data
@pytest.mark.parametrize("tools", IN_COMMON, ids=" and ".join)
def test_recorded_names_of_one_kernel_give_one_identity(shared_data: Path, tools: tuple[str, str]) -> None:
    one, other = ({identity(name): name for name in recorded(shared_data)[tool]} for tool in tools)
    same = one.keys() & other.keys()
    assert len(same) == IN_COMMON[tools]
    spelt_apart = [key for key in same if one[key] != other[key]]
    assert len(spelt_apart) >= len(same) - 10  # names without arguments are spelt alike
    for key in same:
        assert short_name(one[key]) == short_name(other[key])
        assert category(one[key]) == category(other[key])


@pytest.mark.real_data
def test_two_kernels_of_one_tool_keep_two_identities(shared_data: Path) -> None:
    for tool in ("nsys", "ncu", "torch"):
        names = recorded(shared_data)[tool]
        assert len({identity(name) for name in names}) == len(names)


@pytest.mark.real_data
def test_base_and_mangled_names_are_read_as_the_function_that_they_name(shared_data: Path) -> None:
    names = recorded(shared_data)
    functions = {identity(name).partition("<")[0] for name in names["nsys"]}
    shown = {short_name(name) for name in names["nsys"]}
    assert len(names["base"]) > 10
    assert {name for name in names["base"] if identity(name) not in functions} == set()
    assert len(names["mangled"]) > 10
    assert {name for name in names["mangled"] if short_name(name) not in shown} == set()
