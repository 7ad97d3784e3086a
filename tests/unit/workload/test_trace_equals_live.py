"""A trace that is read back gives the tables that the live events gave."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.formats.torch_events import read_events
from llm_perf_opt.stages.torch_profiler.child_events import live_events


def test_a_trace_gives_the_same_tables_as_the_live_events(tmp_path: Path) -> None:
    weight = torch.randn(8, 8)
    with profile(activities=[ProfilerActivity.CPU], with_stack=True) as profiler:
        for phase in ("prefill", "decode", "decode"):
            with record_function(phase), record_function("decoder"):
                torch.nn.functional.linear(torch.randn(2, 8), weight).sum()
        torch.randn(3).sort()
    live = analyse(live_events(profiler.profiler.kineto_results.events()), "memory")
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    recorded = analyse(read_events(tmp_path / "trace.json"), "trace")
    assert recorded.operators() == live.operators()
    assert recorded.record.phase_host_ns == live.record.phase_host_ns
    calls = {(row.phase, row.name): row.calls for row in live.operators()}
    assert (calls["prefill", "aten::linear"], calls["decode", "aten::linear"]) == (1, 2)
