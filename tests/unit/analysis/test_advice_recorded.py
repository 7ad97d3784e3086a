"""Rules of advice on recorded files: which fire, that no other does, and that half of the figure silences each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_perf_opt.analysis.advice.advise import advise, all_rules
from llm_perf_opt.analysis.advice.rules.work import NO_PRODUCTS
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.formats import nsys_events, torch_events
from llm_perf_opt.records.device_timeline import DeviceTime, DeviceTimeline
from tests.unit.analysis.advice_cases import evidence

FIRE = {
    "torch/h100-qwen1.5-0.5b.json.gz": ["unfused-work"],
    "torch/a100-nccl.json.gz": ["host-bound", "exposed-communication"],
    "torch/a100-counters-no-kernels.json.gz": ["empty-capture"],
    "nsys/h100-2gpu-nsys2026.2.sqlite": ["exposed-copies"],
}


def devices(record: DeviceTimeline, change: Callable[[DeviceTime], dict[str, object]]) -> DeviceTimeline:
    changed = tuple(device.model_copy(update=change(device)) for device in record.devices)
    return record.model_copy(update={"devices": changed})


def less_late(device: DeviceTime) -> dict[str, object]:
    causes = {name: ns if name.startswith("device_") else ns // 2 for name, ns in device.idle_by_cause.items()}
    rest = device.idle_ns - sum(causes.values())
    return {"idle_by_cause": {**causes, "dependency": causes["dependency"] + rest}}


def less_unfused(record: DeviceTimeline) -> DeviceTimeline:
    rows = tuple(
        row.model_copy(update={"total_ns": row.total_ns // 2}) if row.category in NO_PRODUCTS else row
        for row in record.categories
    )
    gone = sum(old.total_ns - new.total_ns for old, new in zip(record.categories, rows, strict=True))
    other = rows[0].model_copy(update={"category": "GEMM", "total_ns": gone})
    return record.model_copy(update={"categories": (*rows, other)})


HALVED: dict[str, Callable[[DeviceTimeline], DeviceTimeline]] = {
    "host-bound": lambda record: devices(record, less_late),
    "exposed-communication": lambda record: devices(
        record, lambda device: {"exposed_communication_ns": device.exposed_communication_ns // 2}
    ),
    "exposed-copies": lambda record: devices(
        record, lambda device: {"exposed_copy_ns": device.exposed_copy_ns // 2}
    ),
    "unfused-work": less_unfused,
}  # fmt: skip


@pytest.mark.parametrize("name", FIRE)
def test_what_fires_on_a_recorded_file(shared_data: Path, name: str) -> None:
    reader = nsys_events if name.endswith(".sqlite") else torch_events
    record = summary(reader.read_events(shared_data / name))
    found = [advice.rule for advice in advise(evidence(record))]
    assert found == FIRE[name]
    for rule in set(found) & set(HALVED):
        assert rule not in [advice.rule for advice in advise(evidence(HALVED[rule](record)))]


def test_what_is_said_to_fire_on_imports_does() -> None:
    said = {rule.name for rule in all_rules() if "import" in rule.tried_on}
    assert said == {name for names in FIRE.values() for name in names}
