"""A trace that is read back gives the tables that the live events gave."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from llm_perf_opt.analysis.events import fold
from llm_perf_opt.formats.torch_trace import read_trace
from llm_perf_opt.stages.torch_profiler.child import live_events


def test_a_trace_gives_the_same_tables_as_the_live_events(tmp_path: Path) -> None:
    weight = torch.randn(8, 8)
    with profile(activities=[ProfilerActivity.CPU], with_stack=True) as profiler:
        for phase in ("prefill", "decode", "decode"):
            with record_function(phase), record_function("decoder"):
                torch.nn.functional.linear(torch.randn(2, 8), weight).sum()
        torch.randn(3).sort()
    live = fold(*live_events(profiler.profiler.kineto_results.events()))
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = read_trace(tmp_path / "trace.json")
    recorded = fold(trace.host, trace.device)
    assert recorded.operators == live.operators
    assert recorded.phase_ms == live.phase_ms
    assert live.operators["prefill", "aten::linear", ""].calls == 1
    assert live.operators["decode", "aten::linear", ""].calls == 2
