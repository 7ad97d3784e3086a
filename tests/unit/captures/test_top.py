"""Which kernels take the time, from every kind of source, and the file that says so."""

from __future__ import annotations

import contextlib
import csv
import re
import sqlite3
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.captures.top_file import read_top, to_yaml
from llm_perf_opt.captures.top_kernels import exact_pattern, top_kernels
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError, StageError
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS
from llm_perf_opt.records.kernels import Choice, TopKernel, TopKernels
from llm_perf_opt.records.tables import KernelRow, ProfileTables, write_tables
from llm_perf_opt.records.tools import KernelTime, NsysCapture, Tool

HEADER = ",".join(SUMMARY_COLUMNS)


def pattern_of(name: str) -> re.Pattern[str]:
    return re.compile(exact_pattern(name).removeprefix("regex:"))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1), st.text(min_size=1))
def test_a_pattern_matches_its_name_alone(name: str, other: str) -> None:
    assert pattern_of(name).search(name)
    assert bool(pattern_of(name).search(other)) == (other in (name, f"{name}\n"))  # `$` is before a last newline too


def test_only_what_means_something_is_escaped() -> None:
    assert exact_pattern("void f<int, (bool)1>(T *, a-b & #~)") == r"regex:^void f<int, \(bool\)1>\(T \*, a-b & #~\)$"


@given(
    st.lists(
        st.builds(
            TopKernel,
            name=st.text(),
            kernel_name=st.text(min_size=1),
            launches=st.integers(1, 10**9),
            total_ms=st.floats(0, 1e9),
            share=st.floats(0, 1),
            mean_us=st.floats(0, 1e9),
            launch_skip=st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_file_reads_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, kernels: list[TopKernel]) -> None:
    top = TopKernels(source="a\nb: c", kernels=tuple(kernels), kernels_left_out=3)
    path = tmp_path_factory.mktemp("top") / "top.yaml"
    path.write_text(to_yaml(top), encoding="utf-8")
    assert read_top(path) == top


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kernels: []\n", "1:1: kernels: there is no kernel in the list"),
        ("kernels:\n- {name: a, kernel_name: b, launch_skp: 1}\n", "did you mean launch_skip?"),
        ("kernels:\n- name: a\n", "2:3: kernels[0].kernel_name: this key is missing"),
        ("kernels:\n- {name: a, kernel_name: b, launch_skip: -1}\n", "greater than or equal to 0"),
        ("kernels:\n- {name: a, kernel_name: b, launch_skip: '1'}\n", "valid integer"),
        ("kernels:\n- {name: a, kernel_name: ''}\n", "at least 1 character"),
        ("kernel: []\n", "1:1: kernel: there is no such key"),
        ("- a\n", "mapping"),
        ("kernels: [\n", "top.yaml:"),
    ],
)
def test_mistakes_have_their_place_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "top.yaml").write_text(text)
    with pytest.raises(ConfigError, match="kernels top") as caught:
        read_top(tmp_path / "top.yaml")
    assert words in caught.value.message


def test_a_list_with_a_mistake_is_not_called_empty_too(tmp_path: Path) -> None:
    (tmp_path / "top.yaml").write_text("kernels:\n- {name: a, kernel_name: b, launch_skp: 1}\n")
    with pytest.raises(ConfigError) as caught:
        read_top(tmp_path / "top.yaml")
    assert "no kernel in the list" not in caught.value.message


def run_directory(folder: Path, kernels: list[KernelRow]) -> Path:
    (folder / "torch_profiler").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    write_tables(folder / "torch_profiler" / "profile.sqlite", [], kernels)
    return folder


def test_a_torch_profile_by_phase_and_without_copies(tmp_path: Path) -> None:
    run = run_directory(
        tmp_path / "run",
        [
            KernelRow("prefill", "gemm", 2, 600, 400),
            KernelRow("decode", "gemm", 8, 200, 30),
            KernelRow("decode", "norm", 4, 200, 60),
            KernelRow("decode", "Memcpy HtoD (Pageable -> Device)", 1, 9_000, 9_000),
            KernelRow("decode", "Memset (Device)", 1, 9_000, 9_000),
        ],
    )
    found = top_kernels(run, 10)
    assert [(kernel.name, kernel.launches, kernel.share, kernel.launch_skip) for kernel in found.kernels] == [
        ("gemm", 10, 0.8, 5), ("norm", 4, 0.2, 2)
    ]  # fmt: skip
    decode = top_kernels(run / "torch_profiler" / "profile.sqlite", 1, Choice(phase="decode"))
    assert [(kernel.name, kernel.share, kernel.mean_us) for kernel in decode.kernels] == [("gemm", 0.5, 0.025)]
    assert decode.kernels_left_out == 1
    assert decode.spelling == "torch"
    assert decode.source.endswith("profile.sqlite, phase decode")
    with pytest.raises(ConfigError, match="one of decode, prefill"):
        top_kernels(run, 10, Choice(phase="warmup"))


@pytest.mark.parametrize(("left_out", "share"), [(0, 0.75), (3, None)])
def test_facts_without_reports_give_a_share_only_of_all_kernels(
    tmp_path: Path, left_out: int, share: float | None
) -> None:
    kernels = tuple(
        KernelTime(name=name, instances=1, total_ns=ns, mean_ns=ns, median_ns=ns, min_ns=ns, max_ns=ns, std_ns=0)
        for name, ns in (("gemm", 300), ("norm", 100))
    )
    tool = Tool(name="nsys", path="nsys", version="2026.1", source="PATH")
    capture = NsysCapture(
        tool=tool, trigger=None, device=None, reports=(), kernels=kernels, kernels_left_out=left_out
    )  # fmt: skip
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "nsys").mkdir()
    (tmp_path / "nsys" / "facts.json").write_text(capture.model_dump_json())
    found = top_kernels(tmp_path, 1)
    assert (found.kernels[0].share, found.kernels_left_out) == (share, left_out + 1)


def test_sources_without_kernels_say_why(tmp_path: Path) -> None:
    cpu = run_directory(tmp_path / "cpu", [])
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.json").write_text("{}")
    (tmp_path / "table.csv").write_text(f"{HEADER}\n")
    for source, words in (
        (cpu, "ran without a GPU"),
        (tmp_path / "bare", "neither nsys nor the torch profiler left any"),
        (tmp_path / "table.csv", "its table is empty"),
        (tmp_path, "there is no run.json"),
        (tmp_path / "none", "no such file"),
    ):
        with pytest.raises(MissingError, match=words):
            top_kernels(source, 10)
    with pytest.raises(MissingError, match="which phases are in"):
        top_kernels(tmp_path / "bare", 10, Choice(phase="decode"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no table with the columns"),
        (b"a,b\n1,2\n", "no table with the columns Time"),
        (bytes(range(256)), "neither SQLite nor UTF-8"),
        (b"SQLite format 3\0" + b"\xff" * 200, "not a readable nsys export"),
        (f'{HEADER}\n1.0,10,2,1,1,1,1,1,"cut'.encode(), "unexpected end of data"),
        (f"{HEADER}\n1.0,10\n".encode(), "line 2 of the kernel table"),
        (f"{HEADER}\n1.0,ten,2,1,1,1,1,1,a\n".encode(), "line 2 of the kernel table"),
        (f"{HEADER}\n1.0,10,0,1,1,1,1,1,a\n".encode(), "line 2 of the kernel table"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(StageError) as caught:
        top_kernels(tmp_path / "x.csv", 10)
    assert words in caught.value.message


@pytest.mark.real_data
@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_recorded_tables(shared_data: Path, phase: str) -> None:
    path = shared_data / "nsys" / f"dsocr-rtx5090-{phase}-cuda_gpu_kern_sum.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    everything = top_kernels(path, 10_000).kernels
    assert [(kernel.name, str(kernel.launches)) for kernel in everything] == [
        (row["Name"], row["Instances"]) for row in rows
    ]
    assert [round(100 * (kernel.share or 0), 1) for kernel in everything] == [float(row["Time (%)"]) for row in rows]
    assert [round(kernel.mean_us or 0, 2) for kernel in everything] == [
        pytest.approx(float(row["Avg (ns)"]) / 1e3, abs=0.006) for row in rows
    ]
    for kernel in everything:
        pattern = re.compile(kernel.kernel_name.removeprefix("regex:"))
        assert [row["Name"] for row in rows if pattern.search(row["Name"])] == [kernel.name]


@pytest.mark.real_data
def test_recorded_exports(shared_data: Path) -> None:
    found = top_kernels(shared_data / "nsys" / "h100-2gpu-nsys2026.2.sqlite", 5)
    assert found.kernels[0].launches == 248
    assert found.kernels_left_out + 5 == 41
    for name in ("rtx4060-no-kernels-nsys2025.5", "rtx5060ti-no-kernels-nsys2025.1"):
        with pytest.raises(MissingError, match="has no kernels"):
            top_kernels(shared_data / "nsys" / f"{name}.sqlite", 5)
    for other in (
        "nsys/rtx4060-nsys2025.5.nsys-rep",
        "nsys/dsocr-top-10-kernels.yaml",
        "ncu/gtx1660ti-ncu2022.4.ncu-rep",
    ):
        with pytest.raises(LlmperfError) as caught:
            top_kernels(shared_data / other, 5)
        assert caught.value.exit_code == 1


def test_a_list_of_the_earlier_system_is_read(tmp_path: Path) -> None:
    name = "void at::native::<unnamed>::kernel<(int)4, a & b>(T1 *)"
    path = tmp_path / "top.yaml"
    old = {"name": name, "regex": f"^{re.escape(name)}$", "description": "Kernel #1 - 30.0% of GPU time, 51146 calls"}
    path.write_text(yaml.safe_dump({"kernels": [old, {"name": "b", "regex": r"gemm\d+\-x", "description": "mine"}]}))
    first, second = read_top(path).kernels
    assert first == TopKernel(name=name, kernel_name=exact_pattern(name), launches=51146, share=0.3)
    assert second == TopKernel(name="b", kernel_name=r"regex:gemm\d+-x")


def test_the_recorded_list_of_the_earlier_system_is_read(shared_data: Path) -> None:
    path = shared_data.parent / "cases" / "config" / "old_top_kernels.yaml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    kernels = read_top(path).kernels
    assert len(kernels) == 10
    assert [kernel.kernel_name for kernel in kernels] == [exact_pattern(kernel.name) for kernel in kernels]
    assert [(kernel.launches, kernel.share) for kernel in kernels][:2] == [(51146, 0.3), (7164, 0.129)]


@pytest.mark.parametrize("harm", ["UPDATE kernels SET total_ns = 'x'", "ALTER TABLE kernels DROP COLUMN calls"])
def test_tables_of_a_run_that_hold_something_else_are_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "profile.sqlite"
    write_tables(path, [], [KernelRow("decode", "f", 1, 10, 10)])
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(harm)
    with pytest.raises(MissingError, match=r"profile\.sqlite"):
        ProfileTables.read(path)
