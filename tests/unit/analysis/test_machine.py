"""Whether the machine was the same: the rule as a table, drift within a launch, odd launches, repeats that drift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llm_perf_opt.analysis.drift import drift_of, outliers_of
from llm_perf_opt.analysis.machine import (
    LaunchState,
    Side,
    compare_machines,
    drift_within,
    launch_state,
    odd_launches,
    others_cores,
    pressure_share,
)
from llm_perf_opt.records.hardware import Distribution, GpuMoment, HardwareState
from llm_perf_opt.records.machine import MachineMoment, MachineState

IS = {"CPU": "A CPU", "kernel": "6.8", "device": "A GPU (GPU-1)", "GPU driver": "560", "CPU governor": "performance"}
QUIET = LaunchState(
    cores=8,
    others_cores=0.1,
    pressure=0.01,
    cpu_mhz=3000.0,
    sm_clock_mhz=1980.0,
    memory_clock_mhz=2600.0,
    throttled=False,
    gpu_processes=0,
)
NO_GPU = HardwareState(recorded=False, reason="no NVIDIA GPU was used")


def side(*states: LaunchState, **identity: str | None) -> Side:
    return Side([{**IS, **identity}], states or (QUIET,) * 5)


def effects(a: Side, b: Side, *, in_turn: bool) -> dict[str, str]:
    return {item.what: item.effect for item in compare_machines(a, b, in_turn=in_turn).changes}


def lasting(**changes: Any) -> tuple[LaunchState, ...]:
    """Five launches that are all so."""
    return (replace(QUIET, **changes),) * 5


LOAD, PRESSURE, OTHERS = (
    "cores kept busy by others",
    "time spent waiting for CPU, memory or disk",
    "other processes on the GPU",
)
THROTTLED = "launches in which the GPU was throttled by more than its power limit"
RULE: list[tuple[dict[str, Any], dict[str, str | None], str, str | None, str | None]] = [
    # B's launches, B's identity, what is said to differ, effect at different times, effect in turn
    ({}, {}, LOAD, None, None),
    ({"others_cores": 0.8}, {}, LOAD, None, None),  # 0.7 cores of 8: less than a tenth
    ({"others_cores": 1.0}, {}, LOAD, "withheld", "withheld"),
    ({"cores": 2, "others_cores": 0.55}, {}, LOAD, None, None),
    ({"pressure": 0.2}, {}, PRESSURE, "withheld", "qualified"),
    ({"gpu_processes": 1}, {}, OTHERS, "withheld", "withheld"),
    ({"cpu_mhz": 2600.0}, {}, "CPU clock", "withheld", "qualified"),
    ({"cpu_mhz": 2800.0}, {}, "CPU clock", None, None),
    ({"sm_clock_mhz": 1900.0}, {}, "SM clock", "withheld", "qualified"),
    ({"sm_clock_mhz": 1900.0, "power_capped": True}, {}, "SM clock", "qualified", "qualified"),
    ({"memory_clock_mhz": 1300.0}, {}, "memory clock", "withheld", "qualified"),
    ({"throttled": True}, {}, THROTTLED, "withheld", "qualified"),
    ({}, {"device": "A GPU (GPU-2)"}, "device", "qualified", "qualified"),
    ({}, {"GPU driver": "570"}, "GPU driver", "qualified", "qualified"),
    ({}, {"kernel": "6.9"}, "kernel", "qualified", "qualified"),
    ({}, {"CPU governor": "powersave"}, "CPU governor", "qualified", "qualified"),
    ({"others_cores": None}, {"GPU driver": None}, LOAD, None, None),  # nothing is said of what is not known
]


@pytest.mark.parametrize(("state", "identity", "what", "at_different_times", "in_turn"), RULE)
def test_the_rule(
    state: dict[str, Any],
    identity: dict[str, str | None],
    what: str,
    at_different_times: str | None,
    in_turn: str | None,
) -> None:
    a, b = side(), side(*lasting(**state), **identity)
    for one, other in ((a, b), (b, a)):
        for turns, effect in ((False, at_different_times), (True, in_turn)):
            assert effects(one, other, in_turn=turns) == ({} if effect is None else {what: effect})


def test_a_load_that_comes_and_goes_during_launches_in_turn_is_shared() -> None:
    """Three launches of A and two of B were loaded: by medians they differ, and in turn they do not."""
    loaded = replace(QUIET, others_cores=3.0)
    a, b = side(*(loaded,) * 3, *(QUIET,) * 2), side(*(loaded,) * 2, *(QUIET,) * 3)
    assert effects(a, b, in_turn=True) == {}
    assert effects(a, b, in_turn=False) == {LOAD: "withheld"}


def test_what_is_not_recorded_is_named_once_and_decides_nothing() -> None:
    found = compare_machines(side(), side(LaunchState()), in_turn=True)
    assert (found.changes, found.unknown) == ((), (LOAD,))
    assert found.said("withheld") is None


def test_changes_in_words() -> None:
    found = compare_machines(side(), side(*lasting(others_cores=2.0), kernel="6.9"), in_turn=False)
    assert found.said("withheld") == "cores kept busy by others 0.1 in A, 2.0 in B"
    assert found.said("qualified") == "kernel 6.8 in A, 6.9 in B"


def moment(name: Any, at_s: float, busy: float, own: float, waited: float = 0.0, **changes: Any) -> MachineMoment:
    values: dict[str, Any] = {
        "busy_core_s": busy,
        "own_core_s": own,
        "stolen_core_s": 0.0,
        "pressure_s": {"cpu": waited},
    }
    return MachineMoment(moment=name, at_s=at_s, **values | changes)


def test_load_is_what_others_used_and_not_ones_own() -> None:
    first, last = moment("start", 0.0, 100.0, 5.0, 1.0), moment("end", 10.0, 140.0, 25.0, 3.0)
    assert others_cores(first, last) == pytest.approx(2.0)
    assert pressure_share(first, last) == pytest.approx(0.2)
    stolen = last.model_copy(update={"stolen_core_s": 10.0})
    assert others_cores(first, stolen) == pytest.approx(3.0), "what the hypervisor gave to others counts too"
    assert others_cores(first, moment("end", 0.1, 100.1, 5.0)) is None, "too short for ticks of 10 ms"
    assert others_cores(first, moment("end", 10.0, 90.0, 5.0)) == 0.0, "counters that ran back are no load"
    assert others_cores(first, moment("end", -5.0, 140.0, 5.0)) is None, "a clock that ran back"
    missing = last.model_copy(update={"busy_core_s": None, "pressure_s": {}})
    assert others_cores(first, missing) is pressure_share(first, missing) is None


def gpu(*moments: dict[str, Any], **changes: Any) -> HardwareState:
    usual: dict[str, Any] = {
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2600,
        "temperature_c": 50,
        "power_limit_w": 700.0,
        "throttle_reasons": (),
        "other_processes": 0,
    }
    made = tuple(
        GpuMoment(**usual | {"moment": name, "at_s": 0.0} | item)
        for name, item in zip(("start", "middle", "end"), moments, strict=False)
    )
    return HardwareState(recorded=True, reason=None, moments=made, **changes)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (({}, {}, {}), []),
        (({}, {}, {"temperature_c": 59}), []),
        (({}, {}, {"temperature_c": 60}), ["warmed from 50 to 60"]),
        (({"sm_clock_mhz": 300}, {}, {}), []),  # it idled before the first repeat
        (({}, {}, {"sm_clock_mhz": 1800}), ["1,980 to 1,800 MHz"]),
        (({}, {"power_limit_w": 500.0}, {"power_limit_w": 500.0}), ["power limit went from 700.0 W to 500.0 W"]),
        (({}, {"other_processes": 2}, {}), ["0, 2, 0"]),
    ],
)
def test_drift_of_the_gpu_within_a_launch(items: tuple[dict[str, Any], ...], words: list[str]) -> None:
    found = drift_within(None, gpu(*items))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_load_that_came_up_during_a_launch_is_drift() -> None:
    start = moment("start", 0.0, 0.0, 0.0, governors=("powersave",))
    end = moment("end", 20.0, 50.0, 20.0, governors=("performance",))
    state = MachineState(recorded=True, cores=8, moments=(start, moment("middle", 10.0, 10.0, 10.0), end))
    load, governor = drift_within(state, NO_GPU)
    assert "0.0 cores busy in the first half and 3.0 in the second" in load
    assert governor == "the governor went from powersave to performance"
    assert drift_within(state.model_copy(update={"moments": (start,)}), NO_GPU) == []


def test_records_of_one_launch() -> None:
    state = MachineState(recorded=True, cores=8, moments=(moment("start", 0, 0, 0), moment("end", 10, 30, 10, 5)))
    clock = Distribution(n=9, min=1, median=1900, mean=1, max=1)
    power = gpu({"other_processes": 3}, sm_clock_mhz=clock, throttled=True, throttle_reasons=("sw_power_cap",))
    found = launch_state(state, power)
    assert (found.others_cores, found.pressure, found.sm_clock_mhz, found.gpu_processes) == (2.0, 0.5, 1900, 3)
    assert (found.power_capped, found.throttled) == (True, False)
    hot = gpu(throttled=True, throttle_reasons=("sw_power_cap", "hw_thermal_slowdown"))
    assert (launch_state(None, hot).power_capped, launch_state(None, hot).throttled) == (False, True)
    assert launch_state(None, NO_GPU) == LaunchState()


def test_a_launch_that_was_loaded_is_odd_among_others_that_were_not() -> None:
    states = [(number, QUIET) for number in range(5)]
    assert odd_launches(states) == []
    states[3] = (3, replace(QUIET, others_cores=4.0))
    assert odd_launches(states) == ["launch 3: cores kept busy by others 4.0, 0.1 in most"]
    assert odd_launches(states[1:4]) == [], "of three nobody can say which is odd"


def test_repeats_that_become_slower_drift_and_repeats_that_scatter_do_not() -> None:
    rising = [100.0 * 1.01**step for step in range(20)]
    assert drift_of([rising]) == pytest.approx(10.5, abs=0.5)
    assert drift_of([rising[::-1]]) == pytest.approx(-9.5, abs=0.5)
    assert drift_of([[100.0, 101.0, 99.0, 100.5, 99.5] * 4]) is None
    assert drift_of([[100.0 * 1.0005**step for step in range(20)]]) is None, "shown, and too little to matter"
    assert drift_of([rising[:4]]) is None, "too few to show anything"
    assert drift_of([[7.0 * time for time in rising], rising]) is not None, "batch by batch"
    assert drift_of([[]]) is drift_of([[0.0] * 20]) is None


def test_outliers_are_far_from_their_batch() -> None:
    batches = [[100.0, 101.0, 99.0, 100.0, 140.0], [10.0, 10.1, 9.9, 10.0, 10.0]]
    assert outliers_of(batches) == [pytest.approx(40.0)]
    assert outliers_of([[100.0] * 4 + [109.0]]) == [], "less than a tenth is none, however little the others scatter"
    assert outliers_of([[1.0, 9.0, 2.0]]) == outliers_of([[0.0] * 9]) == []
