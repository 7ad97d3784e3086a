"""Static analysis in closed form: FLOPs, parameters and bytes from `config.json` alone."""

from __future__ import annotations

from llm_perf_opt.analysis.static.analyze import NotCovered, analyze, describe
from llm_perf_opt.analysis.static.generation import GenerationWork, Work, generation_work

__all__ = ["GenerationWork", "NotCovered", "Work", "analyze", "describe", "generation_work"]
