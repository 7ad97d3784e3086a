"""Static analysis in closed form: FLOPs, parameters and bytes from `config.json` alone."""

from __future__ import annotations

from llm_perf_opt.analysis.static.analyze import analyze, describe
from llm_perf_opt.analysis.static.generation import ForwardCost, GenerationCost, generation_cost
from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.analysis.static.reader import NotCovered

__all__ = ["ForwardCost", "GenerationCost", "NotCovered", "analyze", "describe", "generation_cost", "static_record"]
