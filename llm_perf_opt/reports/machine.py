"""What the records of launches say of the machine they were made on: one side of a comparison, and remarks in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llm_perf_opt.analysis.drift import drift_of, outliers_of
from llm_perf_opt.analysis.machine import LaunchState, Side, compare_machines, drift_within, launch_state, odd_launches
from llm_perf_opt.records.machine import MachineComparison
from llm_perf_opt.reports.facts import Launched, Measured, RunFacts
from llm_perf_opt.reports.units import signed_percent


def compare_machines_of(
    a: Sequence[RunFacts], b: Sequence[RunFacts], stage: str, *, in_turn: bool
) -> MachineComparison:
    """Whether a stage of both sides ran on the same machine in the same state."""
    return compare_machines(_side(a, stage), _side(b, stage), in_turn=in_turn)


def _side(runs: Sequence[RunFacts], stage: str) -> Side:
    return Side(
        identity=[_identity(run, run.measured[stage]) for run in runs],
        states=[state_of(item) for run in runs for item in run.measured[stage].launches],
    )


def state_of(item: Launched) -> LaunchState:
    """Of a model on several ranks, what its own other ranks do cannot be told from what others do."""
    state = launch_state(item.machine, item.hardware)
    rank = item.workload.rank
    if rank is None or rank.world_size == 1:
        return state
    return replace(state, others_cores=None, pressure=None, gpu_processes=None)


def _identity(run: RunFacts, measured: Measured) -> dict[str, str | None]:
    """What the machine of a run is; of the first launch where a launch says it."""
    assert run.setup is not None, "imported files time no stage"
    environment, first = run.setup.environment, measured.launches[0]
    device, gpu, machine = first.workload.device, first.hardware, first.machine
    cores = environment.cpu_available_cores
    moments = machine.moments if machine is not None else ()
    limit = next((moment.power_limit_w for moment in gpu.moments if moment.power_limit_w is not None), None)
    on_gpu = device.device != "cpu"
    uuid = f" ({gpu.gpu_uuid})" if gpu.gpu_uuid is not None else ""
    return {
        "CPU": environment.cpu_model,
        "cores for this process": None if cores is None else str(cores),
        "kernel": environment.kernel,
        "device": device.name + uuid if on_gpu else "CPU",
        "GPU driver": environment.gpus.driver_version if on_gpu else None,
        "power limit": None if limit is None else f"{limit:g} W",
        "CPU governor": " and ".join(moments[0].governors) or None if moments else None,
        "turbo": None if machine is None or machine.turbo is None else "on" if machine.turbo else "off",
        "SMT": None if machine is None or machine.smt is None else "on" if machine.smt else "off",
    }


def machine_remarks(measured: Measured) -> list[str]:
    """What drifted within launches, and what was odd among them, in words."""
    several = len(measured.launches) > 1
    said = []
    for item in measured.launches:
        lead = f"launch {item.number}: " if several else ""
        said += [f"{lead}{text}" for text in (*drift_within(item.machine, item.hardware), *_repeats(item))]
    states = [(item.number, state_of(item)) for item in measured.launches]
    return [*said, *odd_launches(states)]


def _repeats(item: Launched) -> list[str]:
    times = [[repeat.e2e_ms for repeat in batch.repeats] for batch in item.workload.batches]
    said = []
    drift, outliers = drift_of(times), outliers_of(times)
    if drift is not None:
        said.append(f"repeats drifted: the second half took {signed_percent(drift)} against the first")
    if outliers:
        count, most = sum(map(len, times)), max(outliers, key=abs)
        said.append(
            f"{len(outliers)} of {count} repeats are outliers, the farthest {signed_percent(most)} off its batch"
        )
    return said
