"""Watch a GPU through NVML from a thread while something is timed.

One sample costs about five short driver calls that release the interpreter lock; at the default ten samples a second
that is far below a thousandth of a core. Energy comes from the GPU's own counter where it has one (Volta and later).
"""

from __future__ import annotations

import bisect
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, load_nvml, why_not
from llm_perf_opt.records.hardware import Distribution, GpuMoment, HardwareSeries, HardwareState

T = TypeVar("T")

# Bits of nvmlClocksEventReasons: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
CLOCK_EVENTS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
# Idling, and clocks that somebody chose, hold nothing back against anyone's will.
NOT_THROTTLING = frozenset({"gpu_idle", "applications_clocks_setting", "display_clock_setting"})


class _Sample(NamedTuple):
    at_s: float
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    memory_used_bytes: int | None
    clock_events: int | None
    energy_mj: int | None


class HardwareSampler:
    """Samples one GPU once, from `start` to `stop`.

    Args:
        uuid: the GPU, as NVML names it ("GPU-…"); torch gives it without the prefix, which is added. None means that
            there is no GPU to watch, and `state` says so.
        interval_s: time between samples.
        load: gives NVML.
        clock: seconds, the host clock that phases are timed with; tests hold it still.
    """

    def __init__(
        self,
        uuid: str | None,
        *,
        interval_s: float = 0.1,
        load: Callable[[], Nvml] = load_nvml,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._uuid = uuid if uuid is None or uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        self._interval_s = interval_s
        self._load = load
        self._clock = clock
        self._nvml: Nvml | None = None
        self._handle: Any = None
        self._name: str | None = None
        self._not_recorded: str | None = "sampling was never started"
        self._samples: list[_Sample] = []
        self._moments: list[GpuMoment] = []
        self._unavailable: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the GPU, take the first sample and go on in a thread; without a GPU, remember why not."""
        self._not_recorded = self._open()
        if self._not_recorded is not None:
            return
        self.mark("start")
        self._thread = threading.Thread(target=self._run, name="llmperf-nvml", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and let go of the GPU."""
        if self._nvml is None or self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        self.mark("end")
        self._nvml.nvmlShutdown()

    def mark(self, moment: Literal["start", "middle", "end"]) -> None:
        """Take one sample now and keep it by this name, with what changes too seldom to be in every sample."""
        nvml, handle = self._nvml, self._handle
        if nvml is None:
            return
        sample = self._take(nvml)
        limit_mw = self._ask("power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        running = self._ask("other_processes", lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        events = None if sample.clock_events is None else _event_fractions([sample.clock_events])
        self._moments.append(
            GpuMoment(
                moment=moment,
                at_s=sample.at_s,
                sm_clock_mhz=sample.sm_clock_mhz,
                memory_clock_mhz=sample.memory_clock_mhz,
                temperature_c=sample.temperature_c,
                power_limit_w=None if limit_mw is None else limit_mw / 1000,
                throttle_reasons=None
                if events is None
                else tuple(name for name in events if name not in NOT_THROTTLING),
                other_processes=None if running is None else self._others([item.pid for item in running]),
            )
        )

    def _others(self, pids: list[int]) -> int | None:
        """In a container the driver gives the numbers that processes have outside, or none at all."""
        if os.getpid() in pids:
            return len(pids) - 1
        if not pids:
            self._unavailable["other_processes"] = "the driver names no process, as in a container"
            return None
        return len(pids) - 1  # this one is among them under another number: its model is on the GPU

    def sample(self) -> None:
        """Take one sample now."""
        if self._nvml is not None:
            self._take(self._nvml)

    def _take(self, nvml: Nvml) -> _Sample:
        handle, ask = self._handle, self._ask
        power_mw = ask("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        memory = ask("memory_used_bytes", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        sample = _Sample(
            at_s=self._clock(),
            sm_clock_mhz=ask("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=ask("memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            power_w=None if power_mw is None else power_mw / 1000,
            temperature_c=ask(
                "temperature_c", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            memory_used_bytes=None if memory is None else int(memory.used),
            clock_events=ask("clock_events", lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
            energy_mj=ask("energy_counter", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
        )
        self._samples.append(sample)
        return sample

    def series(self) -> HardwareSeries:
        """Every sample, as columns."""
        columns = zip(*self._samples, strict=True) if self._samples else ((),) * len(_Sample._fields)
        return HardwareSeries(dict(zip(_Sample._fields, map(list, columns), strict=True)))

    def state(self, spans: Sequence[tuple[str, float, float]] = ()) -> HardwareState:
        """What was seen so far, or why nothing was.

        Args:
            spans: (phase, start, end) on the sampler's clock, for the energy of each phase.
        """
        if self._not_recorded is not None:
            return HardwareState(recorded=False, reason=self._not_recorded, gpu_uuid=self._uuid)
        samples = self._samples
        masks = [sample.clock_events for sample in samples if sample.clock_events is not None]
        events = _event_fractions(masks)
        throttle_reasons = tuple(name for name in events if name not in NOT_THROTTLING)
        used, energy_method = self._energy()
        by_phase, why_not = _by_phase(used, spans, self._interval_s)
        return HardwareState(
            recorded=True,
            reason=None,
            gpu_name=self._name,
            gpu_uuid=self._uuid,
            interval_ms=self._interval_s * 1000,
            duration_ms=(samples[-1].at_s - samples[0].at_s) * 1000,
            sm_clock_mhz=_distribution([sample.sm_clock_mhz for sample in samples]),
            memory_clock_mhz=_distribution([sample.memory_clock_mhz for sample in samples]),
            power_w=_distribution([sample.power_w for sample in samples]),
            temperature_c=_distribution([sample.temperature_c for sample in samples]),
            memory_used_bytes=_distribution([sample.memory_used_bytes for sample in samples]),
            clock_events=events,
            throttled=bool(throttle_reasons) if masks else None,
            throttle_reasons=throttle_reasons,
            moments=tuple(self._moments),
            energy_j=used[-1][1] if used else None,
            energy_method=energy_method,
            energy_by_phase_j=by_phase,
            unavailable={**self._unavailable, **why_not},
        )

    def _open(self) -> str | None:
        """Open NVML and the GPU; the reason where that fails."""
        if self._uuid is None:
            return "no NVIDIA GPU was used"
        try:
            nvml = self._load()
        except NvmlUnavailable as unavailable:
            return str(unavailable)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return why_not(error)
        try:
            self._handle = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            self._name = nvml.nvmlDeviceGetName(self._handle)
        except nvml.NVMLError as error:
            nvml.nvmlShutdown()
            return f"GPU {self._uuid}: {why_not(error)}"
        self._nvml = nvml
        return None

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.sample()

    def _ask(self, field: str, question: Callable[[], T]) -> T | None:
        """The GPU's answer; None, with the reason kept, where it has none."""
        assert self._nvml is not None
        try:
            return question()
        except self._nvml.NVMLError as error:
            self._unavailable[field] = why_not(error)
            return None

    def _energy(self) -> tuple[list[tuple[float, float]], Literal["energy_counter", "integrated_power"] | None]:
        """(time, joules since the first sample) of each sample, and where they come from; empty where not known."""
        counted = [(sample.at_s, sample.energy_mj) for sample in self._samples if sample.energy_mj is not None]
        # A counter that did not move over the whole time is no counter.
        if counted and counted[-1][1] > counted[0][1]:
            return [(at_s, (energy_mj - counted[0][1]) / 1000) for at_s, energy_mj in counted], "energy_counter"
        powers = [(sample.at_s, sample.power_w) for sample in self._samples if sample.power_w is not None]
        if len(powers) < 2:
            return [], None
        steps = ((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in itertools.pairwise(powers))
        sums = itertools.accumulate(steps, initial=0.0)
        return [(at_s, joules) for (at_s, _), joules in zip(powers, sums, strict=True)], "integrated_power"


def _by_phase(
    used: Sequence[tuple[float, float]], spans: Sequence[tuple[str, float, float]], interval_s: float
) -> tuple[dict[str, float], dict[str, str]]:
    """Joules of each phase, between samples by straight lines, and of what is `between` them, so that all add up to
    the whole; and why a phase has none: one that is over before the next sample cannot be told from its neighbours."""
    if not used or not spans:
        return {}, {}
    found: dict[str, float] = {}
    why_not: dict[str, str] = {}
    for phase in dict.fromkeys(name for name, _, _ in spans):
        parts = [(start, end) for name, start, end in spans if name == phase]
        mean_s = sum(end - start for start, end in parts) / len(parts)
        if mean_s < interval_s:
            why_not[f"energy_by_phase_j.{phase}"] = (
                f"it took {mean_s * 1e3:.3g} ms on average, less than the {interval_s * 1e3:.3g} ms between two samples"
            )
        else:
            found[phase] = sum(_energy_until(used, end) - _energy_until(used, start) for start, end in parts)
    if not why_not:
        found["between"] = used[-1][1] - sum(found.values())
    return found, why_not


def _energy_until(used: Sequence[tuple[float, float]], at_s: float) -> float:
    """Joules from the first sample to a moment."""
    after = bisect.bisect_left(used, (at_s,))
    if after == 0:
        return used[0][1]
    if after == len(used):
        return used[-1][1]
    (t0, e0), (t1, e1) = used[after - 1], used[after]
    return e0 + (e1 - e0) * (at_s - t0) / (t1 - t0)


def _distribution(values: list[int] | list[int | None] | list[float | None]) -> Distribution | None:
    known = sorted(float(value) for value in values if value is not None)
    if not known:
        return None
    n = len(known)
    median = (known[(n - 1) // 2] + known[n // 2]) / 2
    return Distribution(n=n, min=known[0], median=median, mean=sum(known) / n, max=known[-1])


def _event_fractions(masks: list[int]) -> dict[str, float]:
    """Clock event → fraction of samples in which it was active; bits we do not know are named by their value."""
    seen: dict[str, int] = {}
    for mask in masks:
        bit = 1
        while bit <= mask:
            if mask & bit:
                name = CLOCK_EVENTS.get(bit, f"unknown_{bit:#x}")
                seen[name] = seen.get(name, 0) + 1
            bit <<= 1
    return {name: count / len(masks) for name, count in sorted(seen.items())}
