"""Observers of the timed repeats: one that fails costs its own records alone, and is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from llm_perf_opt.config.schema import Config, Infer, Measure
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.enabled import observer_references
from llm_perf_opt.stages.nvml import Nvml
from llm_perf_opt.workload.job import execute
from llm_perf_opt.workload.watching import PhaseSpan, Watch, WatchContext, watching
from tests.unit.workload.models import measuring

CPU = torch.device("cpu")
SEEN: list[str] = []
"""What the observers below were told, in order."""


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


class Recorder:
    """Writes what it was given into `<name>.json`."""

    def __init__(self, context: WatchContext[Nvml], name: str) -> None:
        self.file = context.output_dir / f"{name}.json"
        self.settings = context.settings
        self.name = name

    def start(self) -> None:
        SEEN.append(f"{self.name} starts")

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        SEEN.append(f"{self.name} stops")
        self.file.write_text(json.dumps([self.settings.interval_ms, spans]))


class FailsToStart(Recorder):
    def start(self) -> None:
        raise OSError("no GPU to open")


class FailsToStop(Recorder):
    def start(self) -> None: ...

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        raise ValueError("the disk is full")


def recorder(context: WatchContext[Nvml]) -> Watch:
    return Recorder(context, "recorder")


def not_made(_: WatchContext[Nvml]) -> Watch:
    raise RuntimeError("no driver")


def exits(_: WatchContext[Nvml]) -> Watch:
    raise SystemExit(0)


def not_started(context: WatchContext[Nvml]) -> Watch:
    return FailsToStart(context, "failing")


def not_stopped(context: WatchContext[Nvml]) -> Watch:
    return FailsToStop(context, "failing")


FAILURES = {
    "not_made": "RuntimeError: no driver",
    "exits": "SystemExit: 0",
    "not_started": "OSError: no GPU to open",
    "not_stopped": "ValueError: the disk is full",
}


def here(function: str) -> str:
    return f"{__name__}:{function}"


def observed() -> Config:
    return Config.model_validate({"pipeline": {"nvml": {"interval_ms": 7}}})


def test_an_observer_sees_its_settings_and_the_phases(tmp_path: Path) -> None:
    spans: list[PhaseSpan] = []
    with watching({"nvml": here("recorder")}, observed(), CPU, tmp_path, spans) as problems:
        assert SEEN == ["recorder starts"]
        spans.append(PhaseSpan("prefill", 1.0, 2.0))
        SEEN.append("work")
    assert SEEN == ["recorder starts", "work", "recorder stops"]
    assert json.loads((tmp_path / "recorder.json").read_text()) == [7, [["prefill", 1.0, 2.0]]]
    assert problems == []


@pytest.mark.parametrize("order", [("ncu", "nvml"), ("nvml", "ncu")])
@pytest.mark.parametrize("failing", FAILURES)
def test_one_that_fails_costs_its_own_records_alone_and_is_named(
    tmp_path: Path, failing: str, order: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"nvml": here("recorder"), "ncu": here(failing)}
    with watching({name: both[name] for name in order}, observed(), CPU, tmp_path, []) as problems:
        SEEN.append("work")
    assert SEEN == ["recorder starts", "work", "recorder stops"]
    assert problems == [f"observer ncu failed: {FAILURES[failing]}"]
    assert [file.name for file in tmp_path.iterdir()] == ["recorder.json"]
    # Where it was raised is in the log of the child.
    assert f"{FAILURES[failing]}\n" in capsys.readouterr().err


@pytest.mark.parametrize("reference", ["nowhere.at_all:watch", here("nothing_of_that_name")])
def test_one_that_cannot_be_imported_is_named(tmp_path: Path, reference: str) -> None:
    with watching({"nvml": reference}, observed(), CPU, tmp_path, []) as problems:
        pass
    (problem,) = problems
    assert problem.startswith("observer nvml failed: ")


def test_observers_stop_where_the_work_fails_and_its_failure_goes_on(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError, match="the work"),
        watching({"nvml": here("recorder"), "ncu": here("not_stopped")}, observed(), CPU, tmp_path, []),
    ):
        raise KeyError("the work")
    assert SEEN == ["recorder starts", "recorder stops"]


def test_the_record_of_the_timings_is_whole_and_names_what_failed(tmp_path: Path) -> None:
    session = measuring(tmp_path, Infer(max_new_tokens=3, stop_on_eos=False), ["one", "two"])
    failing = zip(("ncu", "memory", "nsys", "torch_profiler"), map(here, FAILURES), strict=True)
    observers = {"nvml": here("recorder"), **dict(failing)}
    execute(session.order.model_copy(update={"observers": observers}), session.events)
    record = Workload.read(tmp_path / "workload.json")
    assert [len(batch.repeats) for batch in record.batches] == [2, 2]
    named = [note for note in record.notes if note.startswith("observer ")]
    assert named == [
        "observer ncu failed: RuntimeError: no driver",
        "observer memory failed: SystemExit: 0",
        "observer nsys failed: OSError: no GPU to open",
        "observer torch_profiler failed: ValueError: the disk is full",
    ]
    _, spans = json.loads((tmp_path / "recorder.json").read_text())
    # Two batches of one prompt, two repeats of each; a warm-up is no timed repeat.
    assert [phase for phase, _, _ in spans] == ["preprocess", "prefill", "decode"] * 4
    assert all(start <= end for _, start, end in spans)
    assert all(end <= start for (_, _, end), (_, start, _) in itertools.pairwise(spans))
    repeats = [repeat for batch in record.batches for repeat in batch.repeats]
    for repeat, ((_, start, prepared), (_, ready, first), (_, _, last)) in zip(
        repeats, zip(spans[::3], spans[1::3], spans[2::3], strict=True), strict=True
    ):
        assert ready == prepared
        assert (prepared - start) * 1e3 == pytest.approx(repeat.preprocess_ms)
        assert (first - start) * 1e3 == pytest.approx(repeat.ttft_ms)
        assert (last - start) * 1e3 == pytest.approx(repeat.e2e_ms)


def test_without_a_gpu_the_observer_of_it_says_so_and_leaves_no_series(tmp_path: Path) -> None:
    config = Config.model_validate({"device": "cpu"})
    with watching(observer_references(config), config, CPU, tmp_path, []) as problems:
        pass
    assert problems == []
    state = HardwareState.read(tmp_path / "hardware.json")
    assert (state.recorded, state.reason) == (False, "no NVIDIA GPU was used")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hardware.json", "machine.json"]
    off = {name: {"enable": False} for name in ("nvml", "machine")}
    assert observer_references(Config.model_validate({"device": "cpu", "pipeline": off})) == {}


class AsksForTheMiddle(Recorder):
    def __init__(self, context: WatchContext[Nvml], name: str) -> None:
        super().__init__(context, name)
        context.in_the_middle(self.middle)

    def middle(self) -> None:
        SEEN.append(f"{self.name} in the middle")

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        SEEN.append(f"{len(spans) // 3} repeats")


class FailsInTheMiddle(AsksForTheMiddle):
    def middle(self) -> None:
        raise OSError("no /proc")


def middle(context: WatchContext[Nvml]) -> Watch:
    return AsksForTheMiddle(context, "recorder")


def not_in_the_middle(context: WatchContext[Nvml]) -> Watch:
    return FailsInTheMiddle(context, "failing")


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_middle_is_between_two_repeats_and_costs_no_timings(tmp_path: Path, repeats: int) -> None:
    measure = Measure(warmup=0, repeats=repeats)
    session = measuring(tmp_path, Infer(max_new_tokens=3, stop_on_eos=False), ["one"], measure)
    observers = {"nvml": here("middle"), "memory": here("not_in_the_middle")}
    spans: list[int] = []
    with watching(observers, observed(), CPU, tmp_path, session.spans, in_the_middle=session.middle.append) as problems:
        session.middle.append(lambda: spans.append(len(session.spans)))
        session.measure()
    reached = repeats > 1
    in_the_middle = ["recorder in the middle"] * reached
    assert SEEN == ["recorder starts", "failing starts", *in_the_middle, *[f"{repeats} repeats"] * 2]  # noqa: SIM300
    assert problems == ["observer memory failed: OSError: no /proc"] * reached
    assert spans == [6] * reached, "two of three repeats were made"
