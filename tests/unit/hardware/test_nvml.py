"""Detection and sampling against a stand-in of NVML: scripted answers, a clock that stands still until told."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.hardware.doctor.quiet import check_gpus
from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, load_nvml
from llm_perf_opt.hardware.sampler import CLOCK_EVENTS, NOT_THROTTLING, HardwareSampler
from llm_perf_opt.records.hardware import SERIES_UNITS, GpuInventory, HardwareSeries, HardwareState


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


class Running(NamedTuple):
    pid: int


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
        self.limit_mw: int | Refusal = 700_000
        self.pids: list[int] | Refusal = [os.getpid()]
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

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int:
        return int(answer(self.limit_mw))

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Any) -> int:
        return 700_000

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:
        return [Running(pid) for pid in answer(self.pids)]

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return int(answer(self.now.power_mw))

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        return int(answer(self.now.temperature))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int:
        return int(answer(self.now.events))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        # The last question of a sample: the script moves on after it.
        value = self.now.energy_mj
        self.position += 1
        if self.position >= len(self.script):
            self.ended.set()
        return int(answer(value))


def loader(nvml: StandIn) -> Callable[[], Nvml]:
    def load() -> Nvml:
        return nvml

    return load


@contextlib.contextmanager
def sampling(sampler: HardwareSampler) -> Iterator[None]:
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()


# Far longer than a test: the thread never takes a sample of its own accord.
INTERVAL_S = 3600.0


def played(*script: Moment) -> HardwareSampler:
    """After sampling the whole script: the first moment at start, the last at stop, the rest between."""
    nvml = StandIn(*script)
    sampler = HardwareSampler(nvml.UUID, interval_s=INTERVAL_S, load=loader(nvml), clock=nvml.clock)
    with sampling(sampler):
        for _ in script[1:-1]:
            sampler.sample()
    assert nvml.opened == 0
    return sampler


def play(*script: Moment) -> HardwareState:
    return played(*script).state()


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


def hours(*spans: tuple[str, float, float]) -> list[tuple[str, float, float]]:
    """Spans in the time between two samples, which is an hour."""
    return [(phase, start * INTERVAL_S, end * INTERVAL_S) for phase, start, end in spans]


def hourly(*joules: int) -> tuple[Moment, ...]:
    """A sample an hour, with what the counter had counted by then."""
    return tuple(Moment(at * INTERVAL_S, energy_mj=value * 1000) for at, value in enumerate(joules))


def test_energy_goes_to_the_phases_it_was_used_in() -> None:
    sampler = played(*hourly(1_000, 1_100, 1_300, 1_900, 1_900))
    state = sampler.state(hours(("prefill", 0.5, 1.5), ("decode", 2, 3), ("prefill", 3, 4)))
    # Half of the first hour and half of the second; the third; the last, in which nothing was used.
    assert state.energy_by_phase_j == {"prefill": pytest.approx(150), "decode": pytest.approx(600), "between": 150}
    assert state.energy_j == 900
    assert sampler.state().energy_by_phase_j == {}


def test_a_phase_shorter_than_the_time_between_samples_has_no_energy_and_the_reason() -> None:
    state = played(*hourly(0, 10, 20, 30)).state(hours(("prefill", 0, 0.5), ("decode", 1, 2), ("prefill", 2, 3)))
    # Together the two prefills are longer than an hour, but their mean is what can be told from its neighbours or not.
    assert state.energy_by_phase_j == {"decode": 10}
    assert state.unavailable == {
        "energy_by_phase_j.prefill": "it took 2.7e+06 ms on average, less than the 3.6e+06 ms between two samples"
    }
    assert state.energy_j == 30


@given(data=st.data(), counted=st.booleans())
def test_parts_and_what_is_between_them_are_the_whole(data: st.DataObject, counted: bool) -> None:
    """Against every piece of time between neighbouring samples, shared among the phases by how much of it each has."""
    gaps = data.draw(st.lists(st.floats(0.1, 3), min_size=1, max_size=6), "hours between samples")
    times = [0.0, *itertools.accumulate(gaps)]
    values = data.draw(st.lists(st.integers(1, 10**6), min_size=len(times), max_size=len(times)), "power or energy")
    readings = list(itertools.accumulate(values)) if counted else [0] * len(times)
    script = [
        Moment(at * INTERVAL_S, power_mw=value, energy_mj=reading)
        for at, value, reading in zip(times, values, readings, strict=True)
    ]
    spans = []
    now = data.draw(st.floats(-1, 2), "start")
    for _ in range(data.draw(st.integers(1, 5), "phases")):
        end = now + data.draw(st.floats(1, 2), "length")
        spans.append((data.draw(st.sampled_from(["preprocess", "prefill", "decode"])), now, end))
        now = end + data.draw(st.floats(0, 1), "pause")
    assume(all(end - start > 1 + 1e-9 for _, start, end in spans))

    pieces = []
    for (t0, t1), (p0, p1), (e0, e1) in zip(
        itertools.pairwise(times), itertools.pairwise(values), itertools.pairwise(readings), strict=True
    ):
        energy_mj = e1 - e0 if counted else (p0 + p1) / 2 * (t1 - t0) * INTERVAL_S
        pieces.append((t0, t1, energy_mj / 1000))
    expected: dict[str, float] = {}
    for name, start, end in spans:
        inside = sum(max(0.0, min(end, t1) - max(start, t0)) / (t1 - t0) * joules for t0, t1, joules in pieces)
        expected[name] = expected.get(name, 0.0) + inside
    whole = sum(joules for _, _, joules in pieces)
    expected["between"] = whole - sum(expected.values())

    state = played(*script).state(hours(*spans))
    assert state.energy_method == ("energy_counter" if counted else "integrated_power")
    assert state.energy_by_phase_j == pytest.approx(expected, rel=1e-6, abs=1e-6 * whole)
    assert state.energy_j == pytest.approx(whole)
    assert sum(state.energy_by_phase_j.values()) == pytest.approx(state.energy_j)
    assert min(state.energy_by_phase_j.values()) >= -1e-6 * whole


def test_the_series_is_every_sample_with_units_and_nulls(tmp_path: Path) -> None:
    refused = NVMLError_NotSupported("Not Supported")
    sampler = played(
        Moment(0.25, power_mw=100_500, events=0x4, energy_mj=7),
        Moment(1.5, sm_clock=refused, power_mw=refused, used=refused, events=refused),
        Moment(2.0, temperature=refused, memory_clock=refused, energy_mj=refused),
    )
    file = tmp_path / "series.parquet"
    sampler.series().write(file)
    table = parquet.read_table(file)
    assert {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema} == SERIES_UNITS
    assert table.to_pydict() == {
        "at_s": [0.25, 1.5, 2.0],
        "sm_clock_mhz": [1980, None, 1980],
        "memory_clock_mhz": [2619, 2619, None],
        "power_w": [100.5, None, 500.0],
        "temperature_c": [50, 50, None],
        "memory_used_bytes": [10 << 30, None, 10 << 30],
        "clock_events": [0x4, None, 0],
        "energy_mj": [7, 0, None],
    }
    assert HardwareSeries.read(file) == sampler.series()


def test_a_quantity_the_gpu_never_told_is_a_column_of_nulls(tmp_path: Path) -> None:
    refused = NVMLError_NotSupported("Not Supported")
    played(Moment(0.0, power_mw=refused), Moment(1.0, power_mw=refused)).series().write(tmp_path / "series.parquet")
    table = parquet.read_table(tmp_path / "series.parquet")
    assert table.column("power_w").to_pylist() == [None, None]
    assert str(table.schema.field("power_w").type) == "double"


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
    with sampling(sampler):
        assert nvml.ended.wait(60)
    assert not any(thread.name == "llmperf-nvml" for thread in threading.enumerate())
    state = sampler.state()
    assert state.sm_clock_mhz is not None and state.sm_clock_mhz.n >= 20
    assert nvml.opened == 0


def test_torchs_uuid_has_no_prefix() -> None:
    nvml = StandIn(Moment(0), Moment(1))
    it = HardwareSampler(nvml.UUID.removeprefix("GPU-"), interval_s=3600, load=loader(nvml), clock=nvml.clock)
    with sampling(it):
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
    sampler = HardwareSampler(uuid, load=load)
    with sampling(sampler):
        pass
    state = sampler.state()
    assert not state.recorded and part in (state.reason or "")
    assert state.throttled is None and state.energy_j is None


def test_a_sampler_never_started_has_recorded_nothing() -> None:
    assert not HardwareSampler(StandIn.UUID).state().recorded


def test_three_moments_are_kept_with_what_changes_too_seldom_for_every_sample() -> None:
    nvml = StandIn(Moment(0.0, temperature=40), Moment(1.0, temperature=55, events=0x4), Moment(2.0, sm_clock=1700))
    sampler = HardwareSampler(nvml.UUID, interval_s=INTERVAL_S, load=loader(nvml), clock=nvml.clock)
    sampler.start()
    nvml.limit_mw, nvml.pids = 500_000, [os.getpid(), 77]
    sampler.mark("middle")
    nvml.pids = [1001, 1002, 1003]  # a container: as they are called outside
    sampler.stop()
    state = sampler.state()
    assert [moment.moment for moment in state.moments] == ["start", "middle", "end"]
    assert [moment.at_s for moment in state.moments] == [0.0, 1.0, 2.0]
    assert [moment.power_limit_w for moment in state.moments] == [700, 500, 500]
    assert [moment.other_processes for moment in state.moments] == [0, 1, 2]
    assert [moment.throttle_reasons for moment in state.moments] == [(), ("sw_power_cap",), ()]
    assert (state.moments[1].temperature_c, state.moments[2].sm_clock_mhz) == (55, 1700)
    assert state.sm_clock_mhz is not None
    assert state.sm_clock_mhz.n == 3, "a moment is a sample of the one sampler"


def test_a_moment_without_an_answer_is_null_with_the_reason() -> None:
    nvml = StandIn(Moment(0.0), Moment(1.0))
    nvml.limit_mw, nvml.pids = NVMLError_NotSupported(), []
    sampler = HardwareSampler(nvml.UUID, interval_s=INTERVAL_S, load=loader(nvml), clock=nvml.clock)
    with sampling(sampler):
        pass
    state = sampler.state()
    assert {(moment.power_limit_w, moment.other_processes) for moment in state.moments} == {(None, None)}
    assert state.unavailable["power_limit_w"] == "this GPU does not report it"
    assert "as in a container" in state.unavailable["other_processes"]


@pytest.mark.parametrize(
    ("limit_mw", "pids", "statuses"),
    [(700_000, [], ["ok", "ok"]), (500_000, [7], ["warn", "warn"]), (Refusal("no"), [], ["ok", "unknown"])],
)
def test_a_quiet_gpu_is_nobody_elses_and_not_held_down(limit_mw: Any, pids: list[int], statuses: list[str]) -> None:
    nvml = StandIn()
    nvml.limit_mw, nvml.pids = limit_mw, pids
    found = check_gpus(loader(nvml))
    assert [finding.status for finding in found] == statuses
    assert nvml.opened == 0
    assert all(finding.remedy for finding in found if finding.status != "ok")
