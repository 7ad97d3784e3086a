"""The state of the machine from recorded files of `/proc` and `/sys`."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.hardware.machine import MachineReader
from llm_perf_opt.records.machine import MachineState

# Of a machine of eight cores with kernel 6.8, shortened.
FILES = {
    "proc/loadavg": "1.52 1.10 0.90 3/512 4242\n",
    "proc/stat": "cpu  1000 100 500 90000 50 10 20 30 400 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n",
    "proc/pressure/cpu": "some avg10=1.00 avg60=0.50 avg300=0.10 total=2500000\n",
    "proc/pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 total=9\n",
    "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq": "3100000\n",
    "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "800000\n",
    "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu4/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/devices/system/cpu/smt/active": "1\n",
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def reader(root: Path, system: str = "Linux") -> MachineReader:
    return MachineReader(root, system=system, clock=lambda: 7.0, own_core_s=lambda: 3.5, cores=lambda: [2, 3])


def test_a_moment_is_what_the_files_say(tmp_path: Path) -> None:
    found = reader(written(tmp_path, FILES))
    found.read("start")
    state = found.state()
    (moment,) = state.moments
    assert (moment.moment, moment.at_s, moment.load_1m, moment.own_core_s) == ("start", 7.0, 1.52, 3.5)
    # User, nice, system, interrupts; ticks of 10 ms. Waiting for disks is not being busy.
    assert (moment.busy_core_s, moment.stolen_core_s) == (16.3, 0.3)
    assert moment.pressure_s == {"cpu": 2.5, "io": 7e-6}
    assert moment.cpu_mhz == 3100.0, "the fastest: cores without work are slowed down"
    assert moment.governors == ("performance", "powersave"), "of the cores of this process alone"
    assert (state.turbo, state.smt) == (True, True)
    assert set(state.missing) == {"pressure_s.memory"}
    assert MachineState.model_validate_json(state.model_dump_json()) == state


def test_other_places_that_tell_the_same(tmp_path: Path) -> None:
    cpuinfo = "cpu MHz\t\t: 2596.146\ncpu MHz\t\t: 2600.000\n"
    found = reader(written(tmp_path, {"proc/cpuinfo": cpuinfo, "sys/devices/system/cpu/cpufreq/boost": "0\n"}))
    found.read("end")
    assert found.state().moments[0].cpu_mhz == 2600.0
    assert found.state().turbo is False


def test_what_is_not_there_is_null_with_the_reason(tmp_path: Path) -> None:
    found = reader(tmp_path)
    found.read("start")
    state = found.state()
    (moment,) = state.moments
    assert (moment.load_1m, moment.busy_core_s, moment.cpu_mhz, moment.governors) == (None, None, None, ())
    assert (state.turbo, state.smt) == (None, None)
    assert {"load_1m", "busy_core_s", "cpu_mhz", "governors", "turbo", "smt", "pressure_s.cpu"} <= set(state.missing)
    assert all(state.missing.values())


def test_nothing_is_read_where_there_is_no_proc(tmp_path: Path) -> None:
    found = reader(written(tmp_path, FILES), "Darwin")
    found.read("start")
    state = found.state()
    assert (state.recorded, state.moments) == (False, ())
    assert "Darwin" in (state.reason or "")
