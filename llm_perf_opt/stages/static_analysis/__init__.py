"""FLOPs, parameters and bytes of the model: in closed form in this process, traced in a child where there is none."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.artifacts.layout import STATIC
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.stages.base import Stage


class StaticAnalysis(StageSettings):
    """FLOPs, parameters, bytes and roofline bounds, computed without running the model."""

    enable: bool = True
    """Run this stage."""
    write_reports: bool = True
    """Write `static_compute.json` and `.md`."""
    use_analytic_fallback: bool = True
    """Where tracing fails, let a marked estimate stand in."""
    use_synthetic_inputs: bool = True
    """Take sizes from the configuration; false takes them from the first sample."""
    attention_flops: Literal["causal", "full"] = "causal"
    """Count what a causal kernel computes, or the whole square."""
    logits: Literal["last", "all"] = "last"
    """Count the output projection of prefill for the last token, or for all."""


STAGE = Stage(
    settings=StaticAnalysis,
    records={STATIC: "llm_perf_opt.records.static:StaticRecord"},
    short="static",
    needs=lambda settings, config: (
        "model" if settings.use_synthetic_inputs and not config.dataset.synthetic.wanted else "files"
    ),
    planner="llm_perf_opt.stages.static_analysis.execute:plan",
    execute="llm_perf_opt.stages.static_analysis.execute:execute",
)
