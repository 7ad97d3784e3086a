"""The state of the machine from `/proc` and `/sys`: a dozen small files, read at single moments."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from llm_perf_opt.records.machine import MachineMoment, MachineState, MomentName, PressureOf

PRESSURES: tuple[PressureOf, ...] = ("cpu", "memory", "io")
_TOTAL = re.compile(r"^some .*\btotal=(\d+)", re.MULTILINE)
_MHZ = re.compile(r"^cpu MHz\s*:\s*([\d.]+)", re.MULTILINE)
_MOST_CORES = 64
"""Whose frequency is read: on some kernels each asks the core itself."""


def _own_core_s() -> float:
    times = os.times()
    return times.user + times.system


def _own_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class MachineReader:
    """Reads moments, and keeps why something is missing.

    Args:
        root: where `/proc` and `/sys` are; tests point it at recorded files.
        system: of the machine, as `platform.system` names it.
        clock: seconds, the clock that repeats are timed with.
        own_core_s: CPU time of this process.
        cores: numbers of the cores that it may run on.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        system: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
        own_core_s: Callable[[], float] = _own_core_s,
        cores: Callable[[], list[int]] = _own_cores,
    ) -> None:
        self._root = root
        self._system = platform.system() if system is None else system
        self._clock = clock
        self._own_core_s = own_core_s
        self._cores = cores
        self._moments: list[MachineMoment] = []
        self._missing: dict[str, str] = {}

    @property
    def why_not(self) -> str | None:
        """Why nothing can be recorded; None where something can."""
        if self._system == "Linux":
            return None
        return f"{self._system} has no /proc and /sys that tell it"

    def read(self, moment: MomentName) -> None:
        """Take in one moment."""
        if self.why_not is None:
            self._moments.append(self._moment(moment))

    def state(self) -> MachineState:
        """What was read so far, or why nothing was."""
        if self.why_not is not None:
            return MachineState(recorded=False, reason=self.why_not)
        return MachineState(
            recorded=True,
            cores=os.cpu_count(),
            turbo=self.turbo(),
            smt=self.smt(),
            moments=tuple(self._moments),
            missing=dict(self._missing),
        )

    def turbo(self) -> bool | None:
        """Whether cores may exceed their base clock."""
        intel = self._text("sys/devices/system/cpu/intel_pstate/no_turbo")
        if intel is not None:
            return intel.strip() == "0"
        boost = self._text("sys/devices/system/cpu/cpufreq/boost")
        if boost is None:
            self._missing["turbo"] = "neither intel_pstate nor cpufreq/boost is there, as in a virtual machine"
        return None if boost is None else boost.strip() == "1"

    def smt(self) -> bool | None:
        """Whether two threads share a core."""
        active = self._text("sys/devices/system/cpu/smt/active")
        if active is None:
            self._missing["smt"] = "/sys/devices/system/cpu/smt is not there"
        return None if active is None else active.strip() == "1"

    def _moment(self, moment: MomentName) -> MachineMoment:
        busy, stolen = self._used()
        return MachineMoment(
            moment=moment,
            at_s=self._clock(),
            load_1m=self._load(),
            busy_core_s=busy,
            stolen_core_s=stolen,
            own_core_s=self._own_core_s(),
            pressure_s=dict(self._pressure()),
            cpu_mhz=self._cpu_mhz(),
            governors=self._governors(),
        )

    def _load(self) -> float | None:
        text = self._text("proc/loadavg")
        if text is None:
            self._missing["load_1m"] = "/proc/loadavg cannot be read"
            return None
        return float(text.split()[0])

    def _used(self) -> tuple[float | None, float | None]:
        """Busy and stolen core seconds: proc_stat(5). Time of guests is in that of users."""
        words = (self._text("proc/stat") or "").partition("\n")[0].split()
        if len(words) < 9 or words[0] != "cpu":
            self._missing["busy_core_s"] = "/proc/stat cannot be read"
            return None, None
        user, nice, system, _, _, interrupts, soft, stolen = (int(word) for word in words[1:9])
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        return (user + nice + system + interrupts + soft) / ticks_per_s, stolen / ticks_per_s

    def _pressure(self) -> Iterator[tuple[PressureOf, float]]:
        for name in PRESSURES:
            found = _TOTAL.search(self._text(f"proc/pressure/{name}") or "")
            if found is None:
                self._missing[f"pressure_s.{name}"] = (
                    f"/proc/pressure/{name} is not there: the kernel does not count it"
                )
            else:
                yield name, int(found[1]) / 1e6

    def _cpu_mhz(self) -> float | None:
        khz = [text for text in self._each("scaling_cur_freq") if text.isdecimal()]
        if khz:
            return max(map(int, khz)) / 1e3
        mhz = _MHZ.findall(self._text("proc/cpuinfo") or "")
        if not mhz:
            self._missing["cpu_mhz"] = "neither cpufreq nor /proc/cpuinfo tells it"
            return None
        return max(map(float, mhz))

    def _governors(self) -> tuple[str, ...]:
        found = tuple(sorted(set(self._each("scaling_governor"))))
        if not found:
            self._missing["governors"] = "cpufreq is not there, as in a virtual machine"
        return found

    def _each(self, file: str) -> list[str]:
        """A file of cpufreq of each core of ours."""
        paths = (f"sys/devices/system/cpu/cpu{core}/cpufreq/{file}" for core in self._cores()[:_MOST_CORES])
        return [text.strip() for path in paths if (text := self._text(path)) is not None]

    def _text(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
