"""Phases and steps by their names: ours, torch's profiler's and those of serving engines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PHASES = ("warmup", "prefill", "decode")
OUTSIDE = "outside"
PROFILER_STEP = "ProfilerStep"

PhaseRule = tuple[str, re.Pattern[str]]
"""(phase, what its ranges are called)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the name of a range says."""

    phase: str | None = None
    group: str | None = None
    """Steps of one group are compared with each other."""


_SERVING = {"decode": "decode", "prefill": "prefill", "extend": "prefill", "context": "prefill", "generation": "decode"}


def _profiler_step(found: re.Match[str]) -> Meaning:
    return Meaning(None, PROFILER_STEP)


def _serving_step(found: re.Match[str]) -> Meaning:
    """`step[DECODE bs=32]` of SGLang and others: one group for each kind and batch size."""
    return Meaning(_SERVING.get(found[1].lower()), found[0])


def _vllm_step(found: re.Match[str]) -> Meaning:
    """vLLM's `execute_context_1(888_788544)_generation_0(0)`: sequences in prefill, and in decode."""
    context, generation = int(found[1]), int(found[2])
    phase = "prefill" if context and not generation else "decode" if generation and not context else None
    return Meaning(phase, f"execute, {context} in context, {generation} in generation")


def _steps(found: re.Match[str]) -> Meaning:
    return Meaning(None, f"{int(found[2]) - int(found[1])} steps")


_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Meaning]], ...] = (
    (re.compile(r"ProfilerStep#\d+$"), _profiler_step),
    (re.compile(r"step\[([A-Za-z]+) bs=\d+[^\]]*\]$"), _serving_step),
    (re.compile(r"execute_(?:\d+_)?context_(\d+)\([^()]*\)_generation_(\d+)\([^()]*\)$"), _vllm_step),
    (re.compile(r"Step (\d+) to (\d+)$"), _steps),
    (re.compile(r"step\[\d+\]$"), lambda found: Meaning(None, "decode step")),
)


def meaning(name: str, rules: Sequence[PhaseRule] = ()) -> Meaning:
    """What a range is, by its name; `rules` come first, and what they name are the steps of the phase too."""
    for phase, pattern in rules:
        if pattern.search(name):
            return Meaning(phase, phase)
    if name in PHASES:
        return Meaning(name, None)
    for pattern, of in _STEPS:
        found = pattern.match(name)
        if found is not None:
            return of(found)
    return Meaning()
