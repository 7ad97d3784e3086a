"""Watch a GPU through NVML from a thread while something is timed.

One sample costs about five short driver calls that release the interpreter lock; at the default ten samples a second
that is far below a thousandth of a core. Energy comes from the GPU's own counter where it has one (Volta and later).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeVar

from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, load_nvml, why_not
from llm_perf_opt.records.hardware import Distribution, HardwareState

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


class HardwareSampler:
    """Samples one GPU once, from `start` to `stop`; use it as a context manager around the timed repeats.

    Args:
        uuid: the GPU, as NVML names it ("GPU-…"); torch gives it without the prefix, which is added. None means that
            there is no GPU to watch, and `state` says so.
        interval_s: time between samples.
        load: gives NVML.
        clock: seconds, monotonic; tests hold it still.
    """

    def __init__(
        self,
        uuid: str | None,
        *,
        interval_s: float = 0.1,
        load: Callable[[], Nvml] = load_nvml,
        clock: Callable[[], float] = time.monotonic,
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
        self._unavailable: dict[str, str] = {}
        self._energy_mj: tuple[int | None, int | None] = (None, None)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> HardwareSampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the GPU, take the first sample and go on in a thread; without a GPU, remember why not."""
        self._not_recorded = self._open()
        if self._not_recorded is not None:
            return
        self._energy_mj = (self._energy(), None)
        self.sample()
        self._thread = threading.Thread(target=self._run, name="llmperf-nvml", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and let go of the GPU."""
        if self._nvml is None or self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        self.sample()
        self._energy_mj = (self._energy_mj[0], self._energy())
        self._nvml.nvmlShutdown()

    def sample(self) -> None:
        """Take one sample now."""
        nvml, handle = self._nvml, self._handle
        if nvml is None:
            return
        ask = self._ask
        power_mw = ask("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        memory = ask("memory_used_bytes", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        self._samples.append(
            _Sample(
                at_s=self._clock(),
                sm_clock_mhz=ask("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
                memory_clock_mhz=ask(
                    "memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
                ),
                power_w=None if power_mw is None else power_mw / 1000,
                temperature_c=ask(
                    "temperature_c", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
                ),
                memory_used_bytes=None if memory is None else int(memory.used),
                clock_events=ask("clock_events", lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
            )
        )

    def state(self) -> HardwareState:
        """What was seen so far, or why nothing was."""
        if self._not_recorded is not None:
            return HardwareState(recorded=False, reason=self._not_recorded, gpu_uuid=self._uuid)
        samples = self._samples
        masks = [sample.clock_events for sample in samples if sample.clock_events is not None]
        events = _event_fractions(masks)
        throttle_reasons = tuple(name for name in events if name not in NOT_THROTTLING)
        energy_j, energy_method = self._energy_j()
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
            energy_j=energy_j,
            energy_method=energy_method,
            unavailable=dict(self._unavailable),
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

    def _energy(self) -> int | None:
        """Millijoules since the driver was loaded, or None where the GPU has no counter."""
        nvml = self._nvml
        assert nvml is not None
        return self._ask("energy_counter", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def _energy_j(self) -> tuple[float | None, Literal["energy_counter", "integrated_power"] | None]:
        first, last = self._energy_mj
        # A counter that did not move over the whole time is no counter.
        if first is not None and last is not None and last > first:
            return (last - first) / 1000, "energy_counter"
        powers = [(sample.at_s, sample.power_w) for sample in self._samples if sample.power_w is not None]
        if len(powers) < 2:
            return None, None
        joules = sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in itertools.pairwise(powers))
        return joules, "integrated_power"


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
