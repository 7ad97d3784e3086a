"""Is something else holding the GPU's counters?"""

from __future__ import annotations

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings

_SERVICES = frozenset({"nv-hostengine", "dcgm-exporter"})


def check_dcgm(surroundings: Surroundings) -> tuple[Finding, ...]:
    """DCGM samples the counters ncu needs; while it does, ncu fails."""
    processes = surroundings.root / "proc"
    if not processes.is_dir():
        detail = "this system has no /proc to look for it in"
        return (Finding("dcgm", "unknown", detail, "if ncu finds the counters taken, stop DCGM"),)
    running = sorted(
        f"{name} (pid {entry.name})"
        for entry in processes.iterdir()
        if entry.name.isdigit() and (name := (surroundings.text(f"proc/{entry.name}/comm") or "").strip()) in _SERVICES
    )
    if not running:
        return (Finding("dcgm", "ok", "not running (a container does not see its host's processes)"),)
    # https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/feature-overview.html#profiling-metrics
    remedy = "before an ncu run pause its profiling: dcgmi profmon --pause (and --resume afterwards)"
    return (Finding("dcgm", "warn", f"running: {', '.join(running)}; ncu may find the counters taken", remedy),)
