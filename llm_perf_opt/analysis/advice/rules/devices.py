"""What devices do beside computing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.rule import DEVICE_TIME, Case, Rule, amdahl, percent
from llm_perf_opt.records.advice import AdviceFigure
from llm_perf_opt.records.device_timeline import DeviceTimeline

LEAST_SHARE = 0.02
"""Of the time of the devices: what is less is not worth speaking of."""
EXPOSED = {
    "communication": "share of communication that no computing hides",
    "copy": "share of copies that nothing hides",
}
SAID = {"communication": "Communication", "copy": "Copying"}
CHANGES = {
    "communication": "Let it overlap: communicate in parts while the next part is computed, use fewer ranks for this "
    "size, or a faster link between them.",
    "copy": "Copy from pinned memory, without waiting, on a stream of its own, before the data is needed; and leave "
    "on the device what does not change.",
}


def _exposed(evidence: Evidence, what: Literal["communication", "copy"]) -> Iterator[Case]:
    for piece in evidence.each(DeviceTimeline):
        devices = piece.record.devices
        wall = sum(device.wall_ns for device in devices)
        whole = sum(getattr(device, f"{what}_ns") for device in devices)
        exposed = sum(getattr(device, f"exposed_{what}_ns") for device in devices)
        if not wall or not whole or exposed < LEAST_SHARE * wall:
            continue
        source = f"{piece.file}: devices[]"
        yield Case(
            sentence=f"{SAID[what]} is not hidden: {percent(exposed / whole)} of it runs while the devices compute "
            f"nothing, which is {percent(exposed / wall)} of their time.",
            figures=(
                AdviceFigure(
                    name=EXPOSED[what],
                    value=exposed / whole,
                    unit="share",
                    source=f"{source}.exposed_{what}_ns, {what}_ns",
                ),
                AdviceFigure(
                    name="share of the time of the devices that this is",
                    value=exposed / wall,
                    unit="share",
                    source=f"{source}.exposed_{what}_ns, wall_ns",
                ),
            ),
            change=CHANGES[what],
            saving=amdahl(exposed / wall, DEVICE_TIME, "all of it were hidden"),
        )


def communication(evidence: Evidence) -> Iterator[Case]:
    return _exposed(evidence, "communication")


def copies(evidence: Evidence) -> Iterator[Case]:
    return _exposed(evidence, "copy")


RULES = (
    Rule(
        name="exposed-communication",
        about="More than half of the communication between devices runs while nothing is computed, and that is at "
        "least 2 % of their time.",
        figure=EXPOSED["communication"],
        above=0.5,
        tried_on="recorded imports: torch.profiler of a training job on A100s (NCCL), nsys of a model on two H100s",
        cases=communication,
    ),
    Rule(
        name="exposed-copies",
        about="More than half of the time of copies and sets nothing else runs, and that is at least 2 % of the time "
        "of the devices.",
        figure=EXPOSED["copy"],
        above=0.5,
        tried_on="a recorded import: nsys of a model on two H100s",
        cases=copies,
    ),
)
