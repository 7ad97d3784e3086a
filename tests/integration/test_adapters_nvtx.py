"""What an NVTX tool sees of a run, recorded at NVTX's own interface."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_perf_opt.workload.senders import PROBE_RANGE
from tests.cli_process import llmperf
from tests.standins import recorder
from tests.standins.recorder import Event

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]


def recorded(library: Path, folder: Path, arguments: Sequence[str]) -> list[Event]:
    """The range events of the child that ran the model, in order."""
    log = folder / "nvtx.jsonl"
    extra = recorder.environment(library, log, {})
    finished = llmperf([*arguments, "--output", str(folder / "run")], folder, timeout_s=240, **extra)
    assert finished.returncode == 0, finished.stderr
    events = [event for event in recorder.read(log) if event.event in ("push", "pop")]
    probes = {event.pid for event in events if event.name == PROBE_RANGE}
    return [event for event in events if event.pid not in probes]


def nested(events: Sequence[Event]) -> list[str]:
    """Paths of the ranges as they were pushed, such as `decode/step[0]`."""
    stack: list[str] = []
    paths = []
    for event in events:
        if event.event == "push":
            assert event.name is not None
            stack.append(event.name)
            paths.append("/".join(stack))
        else:
            stack.pop()
    assert stack == []
    return paths


def runs(paths: Sequence[str]) -> list[str]:
    """Equal neighbours as one."""
    return [path for path, _ in itertools.groupby(paths)]


def test_phases_of_the_demo_in_order(nvtx_recorder: Path, tmp_path: Path) -> None:
    few = ["dataset.sampling.num_samples_per_epoch=1", "measure.repeats=2", "infer.max_new_tokens=3"]
    events = recorded(nvtx_recorder, tmp_path, ["infer", "measure.ranges=[phase, sample, step]", *few])
    repeat = ["sample[0]", "sample[0]/prefill", "sample[0]/decode", "sample[0]/decode/step[0]"]
    assert nested(events) == ["warmup", *[*repeat, "sample[0]/decode/step[1]"] * 2]
    pushed = [event for event in events if event.event == "push"]
    assert all(event.registered and event.domain is None for event in pushed)


def test_ranges_that_were_not_asked_for_are_not_pushed(nvtx_recorder: Path, tmp_path: Path) -> None:
    few = ["dataset.sampling.num_samples_per_epoch=1", "measure.repeats=1", "infer.max_new_tokens=3"]
    assert recorded(nvtx_recorder, tmp_path, ["infer", "measure.ranges=[]", *few]) == []


def test_module_ranges_are_inside_prefill_of_the_profiled_run_only(nvtx_recorder: Path, tmp_path: Path) -> None:
    few = ["dataset.sampling.num_samples_per_epoch=1", "measure.repeats=1", "infer.max_new_tokens=2"]
    paths = nested(recorded(nvtx_recorder, tmp_path, ["torch", *few, "pipeline.torch_profiler.warmup_rounds=0"]))
    assert runs(paths[:3]) == ["warmup", "prefill", "decode"]
    modules = ["prefill/sam", "prefill/clip", "prefill/projector"]
    assert set(paths[3:]) == {"prefill", "decode", *modules}
    # The global view and the tiles go through one after the other.
    assert runs(paths[3:]) == ["prefill", *modules * (paths.count("prefill/sam")), "decode"]


def test_the_resnet_pushes_its_own(nvtx_recorder: Path, tmp_path: Path) -> None:
    config = tmp_path / "resnet.yaml"
    groups = ["arch@model", "infer@infer"]
    lines = [f"  - model/dummy_shallow_resnet/{group}: dummy_shallow_resnet.default" for group in groups]
    config.write_text("\n".join(["defaults:", "  - dataset: demo_pages", *lines, ""]))
    paths = nested(recorded(nvtx_recorder, tmp_path, ["infer", str(config), "measure.repeats=1"]))
    forward = ["A", "A/A::A1", "B"]
    assert paths[:4] == ["warmup", *[f"warmup/{name}" for name in forward]]
    assert paths[4:8] == ["prefill", *[f"prefill/{name}" for name in forward]]
