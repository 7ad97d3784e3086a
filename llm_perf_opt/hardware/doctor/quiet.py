"""What keeps this machine from giving the same times twice, and how to switch it off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings
from llm_perf_opt.hardware.machine import MachineReader
from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, opened, why_not
from llm_perf_opt.records.machine import MachineMoment

WATCHED_S = 1.0
BUSY_CORES = 0.2
"""Kept busy by others, from which on it is said."""
WAITING_SHARE = 0.05

QUIET = ("governor", "turbo", "smt", "load", "pressure", "gpu-processes", "gpu-power-limit")
"""Names of the findings."""


def check_quiet(surroundings: Surroundings) -> tuple[Finding, ...]:
    """Governor, turbo, SMT, load, pressure, others on the GPUs, power limits; takes a second."""
    reader = MachineReader(surroundings.root, system=surroundings.system, own_core_s=lambda: 0.0)
    if reader.why_not is not None:
        return tuple(Finding(name, "unknown", reader.why_not, "watch the machine by other means") for name in QUIET)
    reader.read("start")
    surroundings.wait(WATCHED_S)
    reader.read("end")
    state = reader.state()
    first, last = state.moments
    return (
        _governor(last.governors),
        _switch("turbo", state.turbo, state.missing.get("turbo", ""), _TURBO),
        _switch("smt", state.smt, state.missing.get("smt", ""), _SMT),
        _load(first, last, state.missing.get("busy_core_s", "")),
        *_pressure(first, last),
        *check_gpus(surroundings.load_nvml),
    )


_TURBO = (
    "clocks depend on heat and on how many cores are busy",
    "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo, or where that is not there: "
    "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
)
_SMT = (
    "two threads share a core, and how fast one is depends on what the other does",
    "echo off | sudo tee /sys/devices/system/cpu/smt/control, or keep to one thread of each core with taskset",
)


def _governor(found: Sequence[str]) -> Finding:
    if not found:
        return Finding("governor", "unknown", "cpufreq is not there, as in a virtual machine", "ask the host's owner")
    if set(found) == {"performance"}:
        return Finding("governor", "ok", "performance")
    return Finding(
        "governor",
        "warn",
        f"{' and '.join(found)}: cores are slowed down while they are idle",
        "sudo cpupower frequency-set --governor performance",
    )


def _switch(name: str, on: bool | None, missing: str, said: tuple[str, str]) -> Finding:
    if on is None:
        return Finding(name, "unknown", missing, "ask the host's owner")
    return Finding(name, "warn", f"on: {said[0]}", said[1]) if on else Finding(name, "ok", "off")


def _load(first: MachineMoment, last: MachineMoment, missing: str) -> Finding:
    if first.busy_core_s is None or last.busy_core_s is None:
        return Finding("load", "unknown", missing, "look at it with top")
    stolen = (last.stolen_core_s or 0.0) - (first.stolen_core_s or 0.0)
    cores = (last.busy_core_s - first.busy_core_s + stolen) / (last.at_s - first.at_s)
    detail = f"{cores:.1f} cores were busy in the last second (load average {last.load_1m})"
    if cores < BUSY_CORES:
        return Finding("load", "ok", detail)
    return Finding("load", "warn", detail, "see who with top, and stop it: other processes take turns with ours")


def _pressure(first: MachineMoment, last: MachineMoment) -> Iterator[Finding]:
    span_s = last.at_s - first.at_s
    shares = {
        kind: (total - first.pressure_s[kind]) / span_s
        for kind, total in last.pressure_s.items()
        if kind in first.pressure_s
    }
    if not shares:
        yield Finding(
            "pressure", "unknown", "/proc/pressure is not there: the kernel does not count it", "boot with psi=1"
        )
        return
    waiting = [f"{kind} {100 * share:.0f} %" for kind, share in shares.items() if share > WAITING_SHARE]
    if waiting:
        detail = f"threads waited in the last second: {', '.join(waiting)} of the time"
        yield Finding("pressure", "warn", detail, "stop what takes it; in a container, raise its share of processors")
    else:
        yield Finding("pressure", "ok", "nobody waited for a processor, memory or a disk")


def check_gpus(load: Callable[[], Nvml]) -> tuple[Finding, ...]:
    """Other processes on each GPU, and power limits below what it is sold with."""
    return tuple(_gpus(load))


def _gpus(load: Callable[[], Nvml]) -> Iterator[Finding]:
    try:
        nvml = load()
        with opened(nvml):
            try:
                count = nvml.nvmlDeviceGetCount()
            except nvml.NVMLError as error:
                yield Finding("gpu-processes", "unknown", why_not(error), "as for driver")
                return
            for index in range(count):
                yield from _gpu(nvml, index, alone=count == 1)
    except NvmlUnavailable as unavailable:
        yield Finding("gpu-processes", "unknown", str(unavailable), "nothing, where no GPU is used")


def _gpu(nvml: Nvml, index: int, *, alone: bool) -> Iterator[Finding]:
    suffix = "" if alone else f":{index}"
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        running = len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError as error:
        yield Finding(f"gpu-processes{suffix}", "unknown", why_not(error), "look at it with nvidia-smi")
        return
    if running:
        detail = f"{running} {'processes hold' if running > 1 else 'process holds'} GPU {index}"
        yield Finding(f"gpu-processes{suffix}", "warn", detail, "see which with nvidia-smi, and stop them")
    else:
        yield Finding(f"gpu-processes{suffix}", "ok", "none that the driver names; in a container it may name none")
    try:
        limit, usual = (
            nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
            nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle),
        )
    except nvml.NVMLError as error:
        yield Finding(f"gpu-power-limit{suffix}", "unknown", why_not(error), "look at it with nvidia-smi -q -d POWER")
        return
    detail = f"{limit / 1000:g} W, by default {usual / 1000:g} W"
    if limit < usual:
        yield Finding(f"gpu-power-limit{suffix}", "warn", detail, f"sudo nvidia-smi -i {index} -pl {usual // 1000}")
    else:
        yield Finding(f"gpu-power-limit{suffix}", "ok", detail)
