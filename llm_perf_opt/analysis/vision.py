"""Which of a model's timed modules are not its language model."""

from __future__ import annotations

from llm_perf_opt.records.workload import Instrumented, ModuleTime

LANGUAGE = ("decoder.", "lm_head")


def vision_times(found: Instrumented) -> list[ModuleTime]:
    """The family's own modules in prefill, none of them inside another: encoders and projector."""
    return [
        time
        for time in found.modules
        if time.phase == "prefill" and time.within is None and not time.name.startswith(LANGUAGE)
    ]
