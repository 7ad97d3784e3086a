"""A small trace of torch.profiler, with what such files hold beside it."""

from __future__ import annotations

from typing import Any


def event(  # noqa: PLR0917 - as the format's own fields
    category: str, name: str, ts: float, dur: float, pid: int = 1, tid: int = 1, op: int | None = None, **args: Any
) -> dict[str, Any]:
    """One complete event."""
    named = {**({} if op is None else {"External id": op}), **args}
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
