"""May this user read GPU counters, and sample the CPU?"""

from __future__ import annotations

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings

# Bit of CAP_SYS_ADMIN: capabilities(7).
_SYS_ADMIN = 1 << 21
# https://developer.nvidia.com/nvidia-development-tools-solutions-err_nvgpuctrperm-permission-issue-performance-counters
_COUNTERS = (
    "run ncu as root (in a container add --cap-add=SYS_ADMIN), or for all users put 'options nvidia "
    "NVreg_RestrictProfilingToAdminUsers=0' into /etc/modprobe.d/nvidia-profiling.conf and restart: "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)


def check_permissions(surroundings: Surroundings) -> tuple[Finding, ...]:
    """GPU counters (ncu) and CPU sampling (nsys)."""
    return (_counters(surroundings), _perf(surroundings))


def _counters(surroundings: Surroundings) -> Finding:
    params = surroundings.text("proc/driver/nvidia/params")
    if params is None:
        detail = "no NVIDIA driver is loaded (/proc/driver/nvidia/params is absent)"
        return Finding("counters", "unknown", detail, "as for driver")
    for line in params.splitlines():
        key, _, value = line.partition(":")
        if key.strip() != "RmProfilingAdminOnly":
            continue
        if value.strip() == "0":
            return Finding("counters", "ok", "every user may read GPU counters (RmProfilingAdminOnly: 0)")
        if _is_admin(surroundings):
            return Finding("counters", "ok", "reserved to administrators, and this process is one")
        return Finding("counters", "missing", "GPU counters are reserved to administrators", _COUNTERS)
    detail = "the driver does not say (no RmProfilingAdminOnly in its parameters)"
    return Finding("counters", "unknown", detail, f"if ncu reports ERR_NVGPUCTRPERM: {_COUNTERS}")


def _perf(surroundings: Surroundings) -> Finding:
    text = surroundings.text("proc/sys/kernel/perf_event_paranoid")
    if text is None:
        return Finding("perf", "unknown", "this system has no perf_event_paranoid", "keep pipeline.nsys.sample: none")
    try:
        level = int(text.strip())
    except ValueError:
        detail = f"perf_event_paranoid is {text.strip()!r}, which is no number"
        return Finding("perf", "unknown", detail, "keep pipeline.nsys.sample: none")
    if level <= 2 or _is_admin(surroundings):
        return Finding("perf", "ok", f"nsys may sample the CPU (perf_event_paranoid: {level})")
    # https://docs.nvidia.com/nsight-systems/InstallationGuide/index.html#requirements-for-cpu-sampling
    remedy = "only for pipeline.nsys.sample other than none: sudo sysctl kernel.perf_event_paranoid=2"
    return Finding("perf", "warn", f"perf_event_paranoid is {level}; nsys samples the CPU at 2 or less", remedy)


def _is_admin(surroundings: Surroundings) -> bool:
    """Whether this process has CAP_SYS_ADMIN; being root is not enough in a container."""
    for line in (surroundings.text("proc/self/status") or "").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            try:
                return bool(int(value.strip(), 16) & _SYS_ADMIN)
            except ValueError:
                return False
    return False
