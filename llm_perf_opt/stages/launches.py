"""The launches of a stage that times the model: fresh children, and the record of how each ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import ELSEWHERE, LAUNCHES, WORKLOAD, headline_dir, launch_dir
from llm_perf_opt.artifacts.run_directory import now
from llm_perf_opt.config.base import TimedSettings
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.records.launches import LaunchEntry, Launches, Place
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.stages.base import Progress, StageContext
from llm_perf_opt.stages.child import run_child
from llm_perf_opt.stages.enabled import observer_references
from llm_perf_opt.stages.save_dirs import elsewhere, prediction_dir, visualization_dir
from llm_perf_opt.workload.order import WorkOrder

FAILURES_IN_A_ROW = 2
"""After so many, with nothing measured in between, no further launch is tried."""


def new_block() -> str:
    """A name that no other block has."""
    return uuid.uuid4().hex[:12]


@dataclass
class LaunchSeries:
    """The launches of one stage of one run, as they are made.

    The stage's own part, predictions and gallery are made in the first launch that gets that far.
    """

    context: StageContext[TimedSettings]
    part: str | None = None
    """`module:function` of what the child does for the stage after the timed repeats."""
    prefix: Sequence[str] = ()
    """What the children's command begins with."""
    entries: list[LaunchEntry] = field(default_factory=list)
    extras: bool = True
    """Whether the stage's part and outputs are still to be made."""

    @classmethod
    def taken_up(
        cls, context: StageContext[TimedSettings], part: str | None = None, prefix: Sequence[str] = ()
    ) -> LaunchSeries:
        """With the launches that an earlier attempt at the same run completed."""
        file = context.output_dir / LAUNCHES
        before = Launches.read(file).launches if file.exists() else ()
        kept = [entry for entry in before if entry.status == "completed"]
        return cls(context, part, prefix, kept, extras=not kept)

    def directory(self, launch: int) -> Path:
        return launch_dir(self.context.output_dir, launch, self.context.config.measure.launches)

    def has(self, launch: int) -> bool:
        """Whether this launch was completed."""
        return any(entry.place.launch == launch and entry.status == "completed" for entry in self.entries)

    @property
    def hopeless(self) -> bool:
        """Whether the next launch would fail as the last ones did."""
        last = self.entries[-FAILURES_IN_A_ROW:]
        if not last or last[-1].measured:
            return False
        refused = last[-1].exit_code > 1
        return refused or (len(last) == FAILURES_IN_A_ROW and not any(entry.measured for entry in last))

    def launch(self, block: str, launch: int, order: int, progress: Progress) -> LaunchEntry:
        """Make one launch, whatever becomes of it, and record it; one of that number that failed before is replaced."""
        self.entries = [entry for entry in self.entries if entry.place.launch != launch]
        place = Place(block=block, launch=launch, order=order, started=now())
        outcome = self._outcome(self._order(place), progress)
        entry = LaunchEntry(
            place=place,
            ended=now(),
            status="failed" if outcome.status == "failed" else "completed",
            measured=(headline_dir(self.directory(launch)) / WORKLOAD).exists(),
            reason=outcome.reason,
            remedy=outcome.remedy,
            exit_code=outcome.exit_code,
            work_fingerprint=outcome.work_fingerprint,
            prefix=tuple(redact_argv(self.prefix)),
        )
        self.entries.append(entry)
        self.entries.sort(key=lambda entry: entry.place.launch)
        self._save()
        return entry

    def outcome(self) -> Outcome:
        """Of the stage: completed where every launch was; what was measured counts in any case."""
        failed = [entry for entry in self.entries if entry.status == "failed"]
        fingerprint = next((entry.work_fingerprint for entry in self.entries if entry.work_fingerprint), None)
        if not failed:
            return Outcome.completed(fingerprint)
        reasons = dict.fromkeys(f"launch {entry.place.launch}: {entry.reason}" for entry in failed)
        measured = sum(entry.measured for entry in self.entries)
        count = f"{measured} were measured" if measured else "none was measured"
        return Outcome.failed(
            f"{len(failed)} of {len(self.entries)} launches failed, {count}; {'; '.join(reasons)}",
            next((entry.remedy for entry in failed if entry.remedy), None),
            max(entry.exit_code for entry in failed),
            fingerprint,
        )

    def _order(self, place: Place) -> WorkOrder:
        context, output = self.context, self.context.settings.output
        first = self.extras
        directory = self.directory(place.launch)
        return WorkOrder(
            stage=context.name,
            launch=place,
            config=context.config,
            inputs=context.inputs,
            scratch_dir=launch_dir(context.scratch_dir, place.launch, context.config.measure.launches),
            output_dir=directory,
            output=output if first else None,
            prediction_dir=prediction_dir(context.output_dir, output) if first else None,
            visualization_dir=visualization_dir(context.output_dir, output) if first else None,
            timings_only=self.part is None,
            part=self.part if first else None,
            observers=observer_references(context.config),
        )

    def _outcome(self, order: WorkOrder, progress: Progress) -> Outcome:
        try:
            run_child(order, progress, prefix=self.prefix)
            self.extras = False
            self._note_elsewhere(order)
        except LlmperfError as error:
            return Outcome.failed(error.message, error.remedy or None, error.exit_code)
        return outcome_of(Workload.read(headline_dir(order.output_dir) / WORKLOAD))

    def _note_elsewhere(self, order: WorkOrder) -> None:
        outside = elsewhere(self.context.run_path, order.prediction_dir, order.visualization_dir)
        if outside.files:
            write_text(self.context.output_dir / ELSEWHERE, outside.model_dump_json(indent=2) + "\n")

    def _save(self) -> None:
        if self.context.config.measure.launches > 1:
            record = Launches(launches=tuple(self.entries))
            write_text(self.context.output_dir / LAUNCHES, record.model_dump_json(indent=2) + "\n")


def outcome_of(record: Workload) -> Outcome:
    """Completed, or failed where a sample failed."""
    if not record.errors:
        return Outcome.completed(record.work_fingerprint)
    first = record.errors[0]
    total = len(record.errors) + sum(len(batch.samples) for batch in record.batches)
    return Outcome.failed(
        f"{len(record.errors)} of {total} samples failed; the first: {first.error}",
        "repair or remove them; the other samples are measured",
        work_fingerprint=record.work_fingerprint,
    )
