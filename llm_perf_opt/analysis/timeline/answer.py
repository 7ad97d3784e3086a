"""The sentence that a report of a capture begins with."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.analysis.timeline.breakdown import CAUSES, HOST_CAUSES
from llm_perf_opt.records.device_timeline import DeviceTime, HostDoing

MOSTLY = 0.5
WELL_USED = 0.8
LONGEST_NAME = 80

_WHY = {
    "launch_not_recorded": "work whose launch is not in the recording",
    "launch_call": "the launch call itself",
    "launch_latency": "launched work to reach the idle device",
    "device_turnaround": "the device to turn to work that was already queued",
    "dependency": "other work of a device, as it was told to",
    "no_later_work": "nothing: no work came after",
}


def answer(devices: Sequence[DeviceTime], waited: Sequence[HostDoing]) -> str:
    """Where the time of the devices went; of several together."""
    if not devices:
        return "The file holds no device work."
    wall = sum(device.wall_ns for device in devices)
    busy = sum(device.busy_ns for device in devices)
    copies = sum(device.exposed_copy_ns for device in devices)
    talks = sum(device.exposed_communication_ns for device in devices)
    compute = sum(device.compute_ns for device in devices)
    idle = {cause: sum(device.idle_by_cause[cause] for device in devices) for cause in CAUSES}
    late = sum(idle[cause] for cause in CAUSES[HOST_CAUSES])
    if not wall:
        return "The device work that the file holds takes no time."
    used = f"{_the_gpus(devices)} busy {_percent(busy, wall)} of the time"
    if copies > MOSTLY * wall:
        kernels = _percent(compute + talks, wall)
        said = f"Copy-bound: copies alone took {_percent(copies, wall)} of the time, kernels {kernels}."
    elif busy < WELL_USED * wall and late >= MOSTLY * sum(idle.values()):
        said = (
            f"Host-bound: {used}; {_percent(late, sum(idle.values()))} of the idle time {_waited(devices)} for a launch"
        )
        said += f"{_during(waited, late)}."
    elif busy < WELL_USED * wall:
        cause = max((cause for cause in CAUSES if cause not in CAUSES[HOST_CAUSES]), key=idle.__getitem__)
        share = _percent(idle[cause], sum(idle.values()))
        said = f"Idle: {used}; {share} of the idle time {_waited(devices)} for {_WHY[cause]}."
    elif talks > compute:
        said = f"Communication-bound: {used}; exposed communication took {_percent(talks, wall)} of it, compute "
        said += f"{_percent(compute, wall)}."
    else:
        said = f"GPU-bound: {used}, computing {_percent(compute, wall)}."
    return said


def _the_gpus(devices: Sequence[DeviceTime]) -> str:
    return "the GPU was" if len(devices) == 1 else f"the {len(devices)} GPUs were"


def _during(waited: Sequence[HostDoing], late: int) -> str:
    if not waited:
        return ""
    first = waited[0]
    much = "most of it" if first.total_ns > MOSTLY * late else f"{_percent(first.total_ns, late)} of that"
    return f", {much} while the host was in {_shown(first.name)}"


def _waited(devices: Sequence[DeviceTime]) -> str:
    return "it waited" if len(devices) == 1 else "they waited"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _shown(name: str) -> str:
    text = " ".join(short_name(name).split()) if name.startswith("void ") else " ".join(name.split())
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
