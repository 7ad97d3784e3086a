"""Detection and sampling against a stand-in of NVML: scripted answers, a clock that stands still until told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, load_nvml
from llm_perf_opt.hardware.sampler import CLOCK_EVENTS, NOT_THROTTLING, HardwareSampler
from llm_perf_opt.records.hardware import GpuInventory, HardwareState


class Refusal(Exception):
    """Base of the stand-in's errors, as in pynvml."""


class NVMLError_NotSupported(Refusal):
    pass


class NVMLError_LibraryNotFound(Refusal):
    pass


class NVMLError_GpuIsLost(Refusal):
    pass


class Memory(NamedTuple):
    total: int
    used: int


class Moment(NamedTuple):
    """What the GPU answers at one sample; an exception stands for a refusal."""

    at_s: float
    sm_clock: int | Refusal = 1980
    memory_clock: int | Refusal = 2619
    power_mw: int | Refusal = 500_000
    temperature: int | Refusal = 50
    used: int | Refusal = 10 << 30
    events: int | Refusal = 0
    energy_mj: int | Refusal = 0


def answer(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


class StandIn:
    """NVML for one H100, playing a script: each reading of the clock moves on to the next moment."""

    NVMLError: type[Exception] = Refusal
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    UUID = "GPU-91a535d7-4157-249a-65e5-73883afa626e"

    def __init__(
        self,
        *script: Moment,
        name: str = "NVIDIA H100 80GB HBM3",
        mig: int | None = 0,
        init: Refusal | None = None,
        count: int | Refusal = 1,
    ) -> None:
        self.script = script or (Moment(0.0),)
        self.name = name
        self.mig = mig
        self.init = init
        self.count = count
        self.position = 0
        self.opened = 0
        self.ended = threading.Event()

    @property
    def now(self) -> Moment:
        return self.script[min(self.position, len(self.script) - 1)]

    def clock(self) -> float:
        """Time of the moment whose sample is being taken; the next sample is of the next moment."""
        return self.now.at_s

    def nvmlInit(self) -> None:
        if self.init is not None:
            raise self.init
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.82.07"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 13020

    def nvmlDeviceGetCount(self) -> int:
        return int(answer(self.count))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        if uuid != self.UUID:
            raise Refusal("Not Found")
        return 0

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return self.name

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return self.UUID

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return Memory(85_520_809_984, answer(self.now.used))

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:
        return (9, 0)

    def nvmlDeviceGetMigMode(self, handle: Any) -> tuple[int, int]:
        if self.mig is None:
            raise NVMLError_NotSupported("Not Supported")
        return (self.mig, self.mig)

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int) -> int:
        return int(answer(self.now.sm_clock if kind == self.NVML_CLOCK_SM else self.now.memory_clock))

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return int(answer(self.now.power_mw))

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        return int(answer(self.now.temperature))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int:
        # The last question of a sample: the script moves on after it.
        value = self.now.events
        self.position += 1
        if self.position >= len(self.script):
            self.ended.set()
        return int(answer(value))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        return int(answer(self.now.energy_mj))


def loader(nvml: StandIn) -> Callable[[], Nvml]:
    def load() -> Nvml:
        return nvml

    return load


def play(*script: Moment) -> HardwareState:
    """The state after sampling the whole script: the first moment at start, the last at stop, the rest between."""
    nvml = StandIn(*script)
    # Far longer than the test: the thread never takes a sample of its own accord.
    sampler = HardwareSampler(nvml.UUID, interval_s=3600, load=loader(nvml), clock=nvml.clock)
    with sampler:
        for _ in script[1:-1]:
            sampler.sample()
    assert nvml.opened == 0
    return sampler.state()


def test_a_gpu_is_described_and_found_in_the_catalogue() -> None:
    inventory = detect_gpus(loader(StandIn()))
    assert inventory.driver_version == "580.82.07"
    assert inventory.cuda_driver_version == "13.2"
    assert inventory.none_because is None
    (gpu,) = inventory.gpus
    assert (gpu.name, gpu.compute_capability, gpu.mig_enabled) == ("NVIDIA H100 80GB HBM3", "9.0", False)
    assert gpu.catalogue_id == "h100-sxm5"
    assert gpu.memory_total_bytes == 85_520_809_984
    assert GpuInventory.model_validate_json(inventory.model_dump_json()) == inventory


def test_a_sliced_gpu_is_no_gpu_of_the_catalogue() -> None:
    (gpu,) = detect_gpus(loader(StandIn(mig=1))).gpus
    assert gpu.mig_enabled and gpu.catalogue_id is None
    assert "MIG" in (gpu.catalogue_reason or "")


def test_an_unknown_gpu_says_so() -> None:
    (gpu,) = detect_gpus(loader(StandIn(name="NVIDIA GeForce RTX 9090", mig=None))).gpus
    assert gpu.mig_enabled is None and gpu.catalogue_id is None
    assert "RTX 9090" in (gpu.catalogue_reason or "")


def no_package() -> Nvml:
    raise NvmlUnavailable("the Python package nvidia-ml-py is not installed")


@pytest.mark.parametrize(
    ("load", "part"),
    [
        (loader(StandIn(init=NVMLError_LibraryNotFound())), "no NVIDIA driver"),
        (loader(StandIn(init=Refusal("strange"))), "strange"),
        (loader(StandIn(count=0)), "lists no GPU"),
        (loader(StandIn(count=NVMLError_GpuIsLost("GPU is lost"))), "fallen off the bus"),
        (no_package, "nvidia-ml-py"),
    ],
)
def test_no_gpu_comes_with_the_reason(load: Callable[[], Nvml], part: str) -> None:
    inventory = detect_gpus(load)
    assert inventory.gpus == ()
    assert part in (inventory.none_because or "")


def test_the_real_module_has_everything_we_call() -> None:
    nvml = load_nvml()
    for name in dir(StandIn):
        if name.lower().startswith("nvml"):
            assert hasattr(nvml, name), name


def test_quantities_are_summarised_with_their_units() -> None:
    state = play(
        Moment(0.0, sm_clock=1200, power_mw=100_000, temperature=40, used=1 << 30, events=1),
        Moment(1.0, sm_clock=1980, power_mw=700_000, temperature=60, used=3 << 30),
        Moment(2.0, sm_clock=1980, power_mw=700_000, temperature=62, used=3 << 30),
    )
    assert state.recorded and state.reason is None
    assert state.gpu_name == "NVIDIA H100 80GB HBM3"
    assert state.duration_ms == 2000
    assert state.sm_clock_mhz is not None and state.power_w is not None and state.memory_used_bytes is not None
    assert state.sm_clock_mhz.model_dump() == {"n": 3, "min": 1200, "median": 1980, "mean": 1720, "max": 1980}
    assert (state.power_w.min, state.power_w.max) == (100, 700)
    assert state.memory_used_bytes.max == 3 << 30
    assert HardwareState.model_validate_json(state.model_dump_json()) == state


def test_energy_is_the_counters_where_there_is_one() -> None:
    state = play(Moment(0.0, energy_mj=5_000_000), Moment(1.0, energy_mj=5_400_000), Moment(2.0, energy_mj=6_200_000))
    assert state.energy_j == 1200
    assert state.energy_method == "energy_counter"
    assert state.energy_per_token_j(600) == 2
    assert state.energy_per_token_j(0) is None


@pytest.mark.parametrize("energy", [0, NVMLError_NotSupported("Not Supported")])
def test_energy_is_integrated_from_power_otherwise(energy: int | Refusal) -> None:
    state = play(
        Moment(0.0, power_mw=100_000, energy_mj=energy),
        Moment(2.0, power_mw=300_000, energy_mj=energy),
        Moment(3.0, power_mw=300_000, energy_mj=energy),
    )
    assert state.energy_j == pytest.approx(2 * 200 + 1 * 300)
    assert state.energy_method == "integrated_power"


def test_without_counter_or_power_energy_is_unknown() -> None:
    refused = NVMLError_NotSupported("Not Supported")
    state = play(Moment(0.0, power_mw=refused, energy_mj=refused), Moment(1.0, power_mw=refused, energy_mj=refused))
    assert state.energy_j is None and state.energy_method is None and state.energy_per_token_j(5) is None
    assert state.power_w is None
    assert set(state.unavailable) == {"power_w", "energy_counter"}


def test_a_throttled_run_says_so() -> None:
    state = play(Moment(0, events=0x0), Moment(1, events=0x4), Moment(2, events=0x4 | 0x40), Moment(3, events=0x1))
    assert state.throttled is True
    assert state.throttle_reasons == ("hw_thermal_slowdown", "sw_power_cap")
    assert state.clock_events == {"gpu_idle": 0.25, "hw_thermal_slowdown": 0.25, "sw_power_cap": 0.5}


def test_idling_and_chosen_clocks_are_no_throttling() -> None:
    state = play(Moment(0, events=0x1), Moment(1, events=0x2), Moment(2, events=0x100))
    assert state.throttled is False and state.throttle_reasons == ()
    assert len(state.clock_events) == 3


def test_unknown_throttling_is_not_called_none() -> None:
    refused = NVMLError_NotSupported("Not Supported")
    state = play(Moment(0, events=refused), Moment(1, events=refused))
    assert state.throttled is None
    assert state.unavailable["clock_events"] == "this GPU does not report it"


@given(st.lists(st.integers(0, 0x7FF), min_size=2, max_size=8))
def test_every_event_bit_is_named_and_counted(masks: list[int]) -> None:
    state = play(*(Moment(float(at), events=mask) for at, mask in enumerate(masks)))
    for bit, name in CLOCK_EVENTS.items():
        expected = sum(bool(mask & bit) for mask in masks) / len(masks)
        assert state.clock_events.get(name, 0.0) == pytest.approx(expected)
    assert state.throttled == any(name not in NOT_THROTTLING for name in state.clock_events)
    assert ("unknown_0x400" in state.clock_events) == any(mask & 0x400 for mask in masks)


def test_one_refusal_does_not_lose_the_other_samples() -> None:
    state = play(Moment(0), Moment(1, sm_clock=NVMLError_GpuIsLost("GPU is lost")), Moment(2))
    assert state.sm_clock_mhz is not None and state.sm_clock_mhz.n == 2
    assert "fallen off" in state.unavailable["sm_clock_mhz"]


def test_the_thread_samples_until_it_is_stopped() -> None:
    nvml = StandIn(*(Moment(float(at)) for at in range(20)))
    sampler = HardwareSampler(nvml.UUID, interval_s=0.0005, load=loader(nvml), clock=nvml.clock)
    with sampler:
        assert nvml.ended.wait(60)
    assert not any(thread.name == "llmperf-nvml" for thread in threading.enumerate())
    state = sampler.state()
    assert state.sm_clock_mhz is not None and state.sm_clock_mhz.n >= 20
    assert nvml.opened == 0


def test_torchs_uuid_has_no_prefix() -> None:
    nvml = StandIn(Moment(0), Moment(1))
    with HardwareSampler(nvml.UUID.removeprefix("GPU-"), interval_s=3600, load=loader(nvml), clock=nvml.clock) as it:
        pass
    assert it.state().recorded


@pytest.mark.parametrize(
    ("uuid", "load", "part"),
    [
        (None, no_package, "no NVIDIA GPU was used"),
        (StandIn.UUID, no_package, "nvidia-ml-py"),
        (StandIn.UUID, loader(StandIn(init=NVMLError_LibraryNotFound())), "no NVIDIA driver"),
        ("GPU-0", loader(StandIn()), "GPU-0"),
    ],
)
def test_without_a_gpu_nothing_is_recorded_and_the_reason_is(
    uuid: str | None, load: Callable[[], Nvml], part: str
) -> None:
    with HardwareSampler(uuid, load=load) as sampler:
        pass
    state = sampler.state()
    assert not state.recorded and part in (state.reason or "")
    assert state.throttled is None and state.energy_j is None


def test_a_sampler_never_started_has_recorded_nothing() -> None:
    assert not HardwareSampler(StandIn.UUID).state().recorded
