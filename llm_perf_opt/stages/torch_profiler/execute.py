"""Timed repeats, then in the same child the instrumented run and the profiled sample."""

from __future__ import annotations

from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import StageContext
from llm_perf_opt.stages.timed import run_timed
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler

PART = "llm_perf_opt.stages.torch_profiler.child:profile"


def execute(context: StageContext[TorchProfiler]) -> Outcome:
    return run_timed(context, PART)
