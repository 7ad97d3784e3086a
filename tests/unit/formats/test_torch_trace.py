"""Reading traces of torch.profiler: by hand, and recorded ones against a count over the whole JSON."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.events import fold
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.formats import torch_trace
from llm_perf_opt.formats.torch_trace import read_trace


def event(category: str, name: str, ts: float, dur: float, *, pid: int = 1, tid: int = 1, **args: Any) -> Any:
    named = {"External id" if key == "op" else key: value for key, value in args.items()}
    return {"ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": named}


EVENTS = [
    {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "python"}},
    event("user_annotation", "decode", 1000.0, 100.0, op=1),
    event("cpu_op", "aten::mm", 1010.125, 50.5, op=2),
    event("cuda_runtime", "cudaLaunchKernel", 1020, 5, op=2, correlation=2),
    event("python_function", "forward.py(3)", 1000, 90),
    event("overhead", "Buffer", 1001, 3),
    event("cuda_runtime", "hipGraphLaunch", 2000.0, 9.0, correlation=7),
    event("kernel", "gemm", 1500.0, 40.001, pid=0, tid=7, op=2, correlation=2),
    event("kernel", "graphed", 2100.0, 3.0, pid=0, tid=7, correlation=7),
    event("gpu_memcpy", "Memcpy HtoD", 2200.0, 4.0, pid=0, tid=7, correlation=99),
    event("gpu_user_annotation", "decode", 1500.0, 50.0, pid=0, tid=7, op=1),
    {"ph": "s", "id": 2, "pid": 1, "tid": 1, "ts": 1020, "cat": "ac2g", "name": "ac2g"},
]


def written(tmp_path: Path, content: Any, name: str = "trace.json") -> Path:
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["trace.json", "no-ending.gz"])
@pytest.mark.parametrize("whole", [True, False])
def test_operators_and_kernels_of_a_trace(tmp_path: Path, name: str, whole: bool) -> None:
    content = {"schemaVersion": 1, "traceEvents": EVENTS, "traceName": "x"} if whole else EVENTS
    trace = read_trace(written(tmp_path, content, name))
    tables = fold(trace.host, trace.device)
    times = {key[:2]: (row.self_cpu_ns, row.total_cpu_ns, row.device_ns) for key, row in tables.operators.items()}
    assert times == {
        ("decode", "decode"): (49_500, 100_000, 0),
        ("decode", "aten::mm"): (45_500, 50_500, 40_001),
        ("decode", "cudaLaunchKernel"): (5_000, 5_000, 0),
        ("outside", "hipGraphLaunch"): (9_000, 9_000, 3_000),
    }
    assert {key: row.total_ns for key, row in tables.kernels.items()} == {
        ("decode", "gemm"): 40_001,
        ("outside", "graphed"): 3_000,
        ("outside", "Memcpy HtoD"): 4_000,
    }
    assert (trace.malformed, trace.ambiguous, tables.phase_ms) == (0, 0, {"decode": 0.1})


def test_ids_that_two_processes_use_link_nothing(tmp_path: Path) -> None:
    def process(pid: int, phase: str, correlation: int) -> list[Any]:
        return [
            event("user_annotation", phase, 0, 100, pid=pid, op=1),
            event("cuda_runtime", "cudaLaunchKernel", 10, 5, pid=pid, correlation=correlation),
            event("kernel", f"of {pid}", 50, 5, pid=0, tid=7, correlation=correlation),
        ]

    apart = read_trace(written(tmp_path, [*process(1, "prefill", 5), *process(2, "decode", 6)]))
    assert set(fold(apart.host, apart.device).kernels) == {("prefill", "of 1"), ("decode", "of 2")}
    assert apart.ambiguous == 2  # the ids of the two ranges
    shared = read_trace(written(tmp_path, [*process(1, "prefill", 5), *process(2, "decode", 5)]))
    assert set(fold(shared.host, shared.device).kernels) == {("outside", "of 1"), ("outside", "of 2")}
    assert shared.ambiguous == 4


def test_traces_of_old_versions(tmp_path: Path) -> None:
    events = [
        event("Operator", "aten::mm", 10, 5, **{"external id": 3}),
        event("Runtime", "cudaLaunchKernel", 11, 1, **{"external id": 3, "correlation": 8}),
        event("Kernel", "gemm", 20, 2, **{"external id": 3, "correlation": 8}),
    ]
    trace = read_trace(written(tmp_path, events))
    (operator, call) = fold(trace.host, trace.device).operators.values()
    assert (operator.name, operator.device_ns, call.name, call.device_ns) == ("aten::mm", 2000, "cudaLaunchKernel", 0)


def test_events_that_are_not_what_the_format_says_are_counted(tmp_path: Path) -> None:
    odd = [
        3,
        None,
        {"ph": "X"},
        {**event("cpu_op", "a", 1, 1), "ts": "soon"},
        {**event("cpu_op", "a", 1, 1), "ts": 1e300},
        {**event("cpu_op", "a", 1, 1), "ts": 10**16},
        {**event("cpu_op", "a", 1, 1), "dur": -1},
        {**event("cpu_op", "a", 1, 1), "dur": True},
        {**event("cpu_op", "a", 1, 1), "name": 5},
        {**event("cpu_op", "good", 1, 1), "args": [1], "pid": None, "tid": {"a": 1}},
        event("cpu_op", "good", 5, 1, op=2**70),
    ]
    trace = read_trace(written(tmp_path, {"traceEvents": odd}))
    assert (list(trace.host.names), trace.malformed) == (["good", "good"], 6)
    assert list(trace.host.operator_ids) == [0, 0]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (json.dumps({"traceEvents": EVENTS})[:-30], "cut.json"),
        ('{"traceEvents": [{"ph": "X" "cat"', "broken.json"),
        ("", "empty.json"),
        ('{"traceEvents": [\x00\x01]}', "nul.json"),
    ],
)
def test_damaged_traces_are_named(tmp_path: Path, content: str, name: str) -> None:
    with pytest.raises(StageError, match="cannot be read as a trace"):
        read_trace(written(tmp_path, content, name))


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS, "t.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:40] + b"\xff" * 20 + whole[60:]):
        path.write_bytes(damaged)
        with pytest.raises(StageError, match=r"t\.gz cannot be read as a trace"):
            read_trace(path)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(MissingError, match="cannot be read"):
            read_trace(path)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_trace, "ALWAYS_ALLOWED_BYTES", 1 << 20)
    path = written(tmp_path, [EVENTS[0]] * 100_000, "bomb.gz")
    with pytest.raises(StageError, match="more than 200 times its size"):
        read_trace(path)
    monkeypatch.setattr(torch_trace, "MOST_BETWEEN_EVENTS_BYTES", 1 << 20)
    endless = written(tmp_path, '{"traceEvents": [{"name": "' + "a" * (3 << 20), "endless.json")
    with pytest.raises(StageError, match="hold no event"):
        read_trace(endless)


def test_order_in_the_file_does_not_matter(tmp_path: Path) -> None:
    def tables(events: list[Any]) -> Any:
        trace = read_trace(written(tmp_path, events))
        folded = fold(trace.host, trace.device)
        return folded.operators, folded.kernels, folded.phase_ms

    shuffled = list(EVENTS)
    random.Random(0).shuffle(shuffled)
    assert tables(shuffled) == tables(EVENTS)


RECORDED = [
    ("h100-qwen1.5-0.5b", 1465),
    ("b200-eager-vllm", 768),
    ("vllm-decode-full-graph", 425),
    ("mi250-minitoy", 14),
    ("a100-counters-no-kernels", 0),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "kernels"), RECORDED)
def test_recorded_traces_equal_a_count_over_the_whole_json(shared_data: Path, name: str, kernels: int) -> None:
    path = shared_data / "torch" / f"{name}.json.gz"
    with gzip.open(path) as file:
        events = [found for found in json.load(file)["traceEvents"] if found["ph"] == "X"]
    assert sum(found.get("cat") == "kernel" for found in events) == kernels
    calls: dict[str, int] = defaultdict(int)
    total_ns: dict[str, int] = defaultdict(int)
    host: dict[str, int] = defaultdict(int)
    for found in events:
        if found["cat"] in ("kernel", "gpu_memcpy", "gpu_memset"):
            calls[found["name"]] += 1
            total_ns[found["name"]] += round(found["dur"] * 1000)
        host_kind = found["cat"] in ("cpu_op", "user_annotation", "cuda_runtime", "cuda_driver")
        if host_kind and not found["name"].startswith("ProfilerStep#"):
            host[found["name"]] += 1
    trace = read_trace(path)
    tables = fold(trace.host, trace.device)
    assert _summed(tables.kernels.values(), "calls") == calls
    assert _summed(tables.kernels.values(), "total_ns") == total_ns
    assert _summed(tables.operators.values(), "calls") == host
    assert all(row.self_cpu_ns >= 0 for row in tables.operators.values())
    # What is linked is the time of the kernels whose launch was recorded.
    launched = {found["args"].get("correlation") for found in events if found["cat"].startswith("cuda_")}
    operators = {found["args"].get("External id") for found in events if found["cat"] in ("cpu_op", "user_annotation")}
    linked = sum(
        round(found["dur"] * 1000)
        for found in events
        if found["cat"] in ("kernel", "gpu_memcpy", "gpu_memset")
        and (found["args"].get("External id") in operators - {None} or found["args"]["correlation"] in launched)
    )
    assert sum(row.device_ns for row in tables.operators.values()) == linked


def _summed(rows: Any, column: str) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        found[row.name] += getattr(row, column)
    return found
