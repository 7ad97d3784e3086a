"""Whether two runs did comparable work, and what else is not the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.differences import (
    compare_work,
    config_differences,
    differences,
    environment_differences,
    input_differences,
)
from llm_perf_opt.analysis.self_times import TOP, kernel_changes, operator_changes
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.comparison import Difference
from llm_perf_opt.records.hardware import DetectedGpu, GpuInventory
from llm_perf_opt.records.inputs import Inputs, Sample
from llm_perf_opt.records.tables import KernelRow, OperatorRow
from llm_perf_opt.records.workload import Workload
from tests.records import batch, environment, model, repeat, workload

OTHER = "ef" * 32


def inputs(*digests: str, folder: str = "/pages") -> Inputs:
    samples = tuple(
        Sample(kind="image", path=f"{folder}/{index}.png", size_bytes=1, sha256=digest * 32)
        for index, digest in enumerate(digests)
    )
    return Inputs(samples=samples, epochs=(tuple(range(len(samples))),))


PAGES = inputs("aa", "bb")
A = workload(batch(), batch(samples=(1,)))


def other(*batches: Any, **changes: Any) -> Workload:
    return workload(*(batches or (batch(), batch(samples=(1,)))), work_fingerprint=OTHER, **changes)


def test_equal_fingerprints_are_the_same_work() -> None:
    found = compare_work(A, PAGES, A, PAGES)
    assert (found.relation, found.reason, found.differences) == ("same", None, ())


def test_the_cache_is_not_part_of_the_fingerprint_and_is_named() -> None:
    found = compare_work(A, PAGES, A.model_copy(update={"cache": "static"}), PAGES)
    assert (found.relation, found.differences) == ("same", (Difference(name="cache", a="dynamic", b="static"),))


def test_another_type_and_execution_on_the_same_inputs_are_comparable_and_named() -> None:
    changed = other(model=model(dtype="bfloat16", config={"layers": 2}), execution="compile")
    found = compare_work(A, PAGES, changed, inputs("aa", "bb", folder="/elsewhere"))
    assert found.relation == "comparable"
    assert {item.name: (item.a, item.b) for item in found.differences} == {
        "model.dtype": ("float16", "bfloat16"),
        "model.config.layers": (None, 2),
        "execution": ("eager", "compile"),
    }


@pytest.mark.parametrize(
    ("b", "b_inputs", "reason"),
    [
        (other(batch()), PAGES, "A has 2 batches, B 1"),
        (other(), inputs("aa", "cc"), "batch 1 is not made of the same inputs"),
        (other(batch(samples=(1,)), batch()), PAGES, "batch 0 is not made of the same inputs"),
        (
            other(batch(), batch(samples=(1,), prompt_tokens=(99,))),
            PAGES,
            "batch 1 has 100 prompt tokens in A, 99 in B",
        ),
        (
            other(batch(repeat(new_tokens=(4,))), batch(samples=(1,))),
            PAGES,
            "batch 0 made 5 new tokens in A, 4 in B",
        ),
        (
            other(batch(repeat(), repeat(new_tokens=(1_000,))), batch(samples=(1,))),
            PAGES,
            "batch 0 made 5 new tokens in A, 5 or 1,000 in B",
        ),
    ],
)
def test_different_work_says_why(b: Workload, b_inputs: Inputs, reason: str) -> None:
    found = compare_work(A, PAGES, b, b_inputs)
    assert (found.relation, found.reason) == ("different", reason)


def test_nothing_ran_is_different_work() -> None:
    empty = A.model_copy(update={"batches": (), "work_fingerprint": None})
    assert compare_work(A, PAGES, empty, PAGES).reason == "no sample could be run in B"
    assert compare_work(empty, PAGES, empty, PAGES).relation == "different"


def test_settings_by_dotted_path() -> None:
    changed = load_config(None, ["infer.max_new_tokens=7", "measure.ranges=[phase]"]).config
    base = load_config(None, []).config
    assert config_differences(base, changed) == (
        Difference(name="infer.max_new_tokens", a=base.infer.max_new_tokens, b=7),
        Difference(name="measure.ranges", a=["phase", "module"], b=["phase"]),
    )
    assert config_differences(Config(), Config()) == ()


def test_machine_driver_gpus_and_versions() -> None:
    gpu = DetectedGpu(
        index=0,
        name="A GPU",
        uuid="GPU-1",
        memory_total_bytes=1,
        compute_capability="9.0",
        mig_enabled=False,
        catalogue_id=None,
        catalogue_reason="made up",
    )
    bare = environment()
    there = bare.model_copy(
        update={"libraries": {"torch": "2"}, "gpus": GpuInventory(gpus=(gpu,), driver_version="550.1")}
    )
    found = {item.name: (item.a, item.b) for item in environment_differences(bare, "0", there, "1")}
    assert found["llmperf_version"] == ("0", "1")
    assert found["libraries.torch"] == (None, "2")
    assert found["gpus.driver_version"] == (None, "550.1")
    assert found["gpus.gpus[0].name"] == (None, "A GPU")


def test_inputs_are_told_apart_by_contents_not_by_place() -> None:
    assert input_differences(PAGES, inputs("aa", "bb", folder="/elsewhere")) == ()
    changed, missing, order = input_differences(inputs("aa", "bb", "cc"), inputs("aa", "dd"))
    assert (changed.name, missing.name, order.name) == ("samples[1]", "samples[2]", "epochs")
    assert "dddddddddddd" in str(changed.b)
    assert missing.b is None


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), TREES), st.dictionaries(st.sampled_from("abc"), TREES))
def test_differences_are_mirrored_and_empty_for_equals(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert differences(a, a) == ()
    there = {(item.name, str(item.a), str(item.b)) for item in differences(a, b)}
    assert there == {(item.name, str(item.b), str(item.a)) for item in differences(b, a)}


def operator(phase: str, name: str, self_ms: float, **changes: Any) -> OperatorRow:
    return OperatorRow(phase=phase, name=name, calls=1, self_cpu_ns=round(self_ms * 1e6), **changes)


def test_operators_by_the_size_of_their_change_phase_by_phase() -> None:
    a = [
        operator("prefill", "mm", 5),
        operator("prefill", "add", 3),
        operator("decode", "mm", 1),
        operator("warmup", "x", 9),
    ]
    b = [operator("prefill", "mm", 1), operator("prefill", "add", 3), operator("decode", "cat", 2, device_ns=10**6)]
    found = [
        (item.phase, item.name, item.calls_a, item.calls_b, item.change_ms) for item in operator_changes(a, b, "host")
    ]
    assert found == [("prefill", "mm", 1, 1, -4.0), ("decode", "cat", 0, 1, 2.0), ("decode", "mm", 1, 0, -1.0)]


def test_rows_of_one_operator_are_summed_over_shapes() -> None:
    shaped = [operator("decode", "mm", 1, input_shapes="[2]"), operator("decode", "mm", 2, input_shapes="[3]")]
    (found,) = operator_changes(shaped, [operator("decode", "mm", 7)], "host")
    assert (found.calls_a, found.calls_b, found.change_ms) == (2, 1, 4.0)


def test_the_first_of_each_phase_only() -> None:
    b = [KernelRow(phase="decode", name=f"k{index:02}", calls=1, total_ns=10**6 + index) for index in range(TOP + 5)]
    found = kernel_changes([], b)
    assert [item.name for item in found] == [f"k{index:02}" for index in range(TOP + 4, 4, -1)]
