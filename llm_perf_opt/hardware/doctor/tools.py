"""Nsight Systems and Nsight Compute."""

from __future__ import annotations

from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings, ToolName

_TOOLS: dict[ToolName, tuple[str, str]] = {
    "nsys": ("Nsight Systems", "https://developer.nvidia.com/nsight-systems"),
    "ncu": ("Nsight Compute", "https://developer.nvidia.com/nsight-compute"),
}


def check_tools(surroundings: Surroundings) -> tuple[Finding, ...]:
    """Both profilers: where they are and which version."""
    return tuple(_check(surroundings, name) for name in _TOOLS)


def _check(surroundings: Surroundings, name: ToolName) -> Finding:
    title, page = _TOOLS[name]
    variable = f"LLMPERF_{name.upper()}"
    try:
        tool = surroundings.find_tool(name)
    except LlmperfError as error:
        return Finding(name, "missing", error.message, error.remedy)
    if tool is not None:
        return Finding(name, "ok", f"{tool.version or 'unknown version'} at {tool.path} ({tool.source})")
    set_to = surroundings.environment.get(variable)
    searched = f"{variable} is {set_to!r}" if set_to else f"not on PATH, in the usual places, or in {variable}"
    return Finding(name, "missing", searched, f"install {title} ({page}), or set {variable} to the executable")
