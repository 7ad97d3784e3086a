"""Carrying out an A/B: launches in turn, looks where they were planned, and what was found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.ab.plan import STAGE, AbPlan, Side, ab_record, launches_of
from llm_perf_opt.analysis.looks import Look, launch_order
from llm_perf_opt.artifacts.claim import claim_directory, claim_file
from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.artifacts.layout import AB
from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.comparison import Comparison, LookTaken
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.reports.compare_runs import compare_sides
from llm_perf_opt.reports.facts import RunFacts, read_run
from llm_perf_opt.run import open_run, run_environment
from llm_perf_opt.runner import Listener, ending
from llm_perf_opt.stages.base import StageContext
from llm_perf_opt.stages.launches import FAILURES_IN_A_ROW, LaunchSeries, new_block


@dataclass(frozen=True)
class AbEnded:
    """An A/B that is over."""

    path: Path
    manifests: tuple[Manifest, Manifest]
    comparison: Comparison | None
    """None where a side was never measured."""

    @property
    def exit_code(self) -> int:
        """Of the two runs; gates are another matter."""
        return max(manifest.exit_code or 0 for manifest in self.manifests)


def run_ab(plan: AbPlan, argv: Sequence[str], listener: Listener) -> AbEnded:
    """Launch both sides in turn until every question is answered, the last look is taken or the time is spent.

    Raises:
        ConfigError, MissingError, StageError: there is no place for it, or another process is writing it.
        KeyboardInterrupt: it was interrupted; what was measured is reported, and it can be gone on with.
    """
    environment = run_environment()
    path = _claimed(plan, argv)
    a, b = (
        open_run(side.plan, argv, path / side.name, side.resumption, again=(STAGE,), environment=environment)
        for side in (plan.a, plan.b)
    )
    with (
        ending(a.directory, listener, write_facts=a.write_facts) as ready_a,
        ending(b.directory, listener, write_facts=b.write_facts) as ready_b,
    ):
        if ready_a and ready_b:
            turns = Turns(plan, (a.directory, b.directory), listener)
            turns.begin()
            turns.take()
            turns.end()
    manifests = (read_manifest(a.directory.path), read_manifest(b.directory.path))
    facts = [read_run(found.directory.path, manifest) for found, manifest in zip((a, b), manifests, strict=True)]
    compared = _final(turns, facts) if ready_a and ready_b and all(run.measured for run in facts) else None
    return AbEnded(path, manifests, compared)


def _claimed(plan: AbPlan, argv: Sequence[str]) -> Path:
    """The folder of both runs, and in it what was asked."""
    if plan.a.resumption is not None:
        return plan.path
    if plan.numbered:
        path = claim_directory(plan.path)
    else:
        path = plan.path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
    try:
        claim_file(path / AB, ab_record(plan, argv).model_dump_json(indent=2) + "\n")
    except FileExistsError:
        raise ConfigError(f"{path} already holds an A/B", f"go on with it: llmperf ab --resume {path}") from None
    return path


@dataclass
class Turns:
    """The launches of both sides, as they are made."""

    plan: AbPlan
    directories: tuple[RunDirectory, RunDirectory]
    listener: Listener
    looks: list[LookTaken] = field(default_factory=list)
    last: Look | None = None
    """Of those that were taken."""
    stopped: str | None = None
    """Why nothing further is made, where that is neither an answer nor the last look."""
    failed: bool = False

    def begin(self) -> None:
        self.series = tuple(
            LaunchSeries.taken_up(_context(side, directory, self.listener), prefix=side.prefix)
            for side, directory in zip((self.plan.a, self.plan.b), self.directories, strict=True)
        )
        for directory in self.directories:
            directory.begin(STAGE)
        self._balance()

    def take(self) -> None:
        """Pair by pair, each with one launch of both sides."""
        asked, begun, block = self.plan.asked, time.monotonic(), new_block()
        order = launch_order(launches_of(asked))
        first = self.pairs
        while not self._answered() and self.pairs < launches_of(asked):
            made, spent = self.pairs - first, time.monotonic() - begun
            if asked.time_budget_s is not None and spent * (made + 1) / max(made, 1) > asked.time_budget_s and made:
                self.stopped = f"the time budget of {asked.time_budget_s:g} s was spent"
                self.listener.note(f"{self.stopped} after {self.pairs} launches a side")
                return
            for place in (2 * self.pairs, 2 * self.pairs + 1):
                if not self._launch("AB".index(order[place]), block, place - 2 * first):
                    return

    def end(self) -> None:
        """The stage of both runs: completed where every launch that was needed is there, in whatever attempt."""
        for directory, series in zip(self.directories, self.series, strict=True):
            outcome = series.outcome()
            if outcome.status == "failed" and not self.failed and not _samples_failed(series):
                outcome = Outcome.completed(outcome.work_fingerprint)
            directory.end(STAGE, outcome)
            if outcome.status == "failed":
                self.listener.problem(f"{directory.path.name}: {outcome.reason}")

    @property
    def pairs(self) -> int:
        """Launches that both sides have."""
        return min(sum(entry.measured for entry in series.entries) for series in self.series)

    def _balance(self) -> None:
        """Of a pair that was interrupted nothing is kept: its other half would be made at another time."""
        for series in self.series:
            measured = [entry for entry in series.entries if entry.measured]
            for entry in measured[self.pairs :]:
                series.entries.remove(entry)
                shutil.rmtree(series.directory(entry.place.launch), ignore_errors=True)

    def _launch(self, side: int, block: str, order: int) -> bool:
        """One launch, tried again where it fails; False where it does each time."""
        series = self.series[side]
        name = "AB"[side]
        for _ in range(FAILURES_IN_A_ROW):
            number = 1 + max((entry.place.launch for entry in series.entries), default=-1)
            label = f"{name}, launch {self.pairs + 1}"
            entry = series.launch(block, number, order, self.listener.stage_begins(label))
            said = Outcome(status=entry.status, reason=entry.reason, remedy=entry.remedy, exit_code=entry.exit_code)
            self.listener.stage_ends(label, said)
            if entry.measured:
                return True
            if series.hopeless:
                break
        self.failed = True
        self.stopped = f"{name} could not be measured: {entry.reason}"
        return False

    def _answered(self) -> bool:
        """Take the looks that are due. Work that cannot be compared answers it too, after the first pair."""
        pairs, asked = self.pairs, self.plan.asked
        if pairs == 0:
            return False
        due = [look for look in asked.looks[len(self.looks) :] if look.launches <= pairs]
        if not due and self.looks:
            return False
        for look in due:
            found = self.compare(look)
            self.last = look
            self.looks.append(LookTaken(launches=look.launches, level=look.level, outcome=found.outcome))
            self.listener.note(f"look at {look.launches} launches a side: {found.verdict}")
            if _decided(found):
                return True
        if not due and pairs == 1:
            found = self.compare(None)
            work = any(stage.work.reason is not None for stage in found.stages)
            # Of other numbers of tokens rates can be told, and no gate can.
            different = found.outcome == "unknown" or (work and bool(asked.gates))
            if different:
                self.stopped = "the work is different"
                self.listener.note(found.verdict)
            return different
        return False

    def compare(self, look: Look | None, facts: Sequence[RunFacts] | None = None) -> Comparison:
        """Of what is there now, as far as a look sees it."""
        asked = self.plan.asked
        runs = facts or [read_run(directory.path, directory.manifest) for directory in self.directories]
        first = asked.looks[0].launches
        early = None
        if look is None:
            why = f"{self.stopped}, and " if self.stopped else ""
            early = f"{why}the first look is at {first} launches a side, of which there are {self.pairs}"
        return compare_sides(
            runs[:1], runs[1:], asked.gates, asked.judging(look, early), require_same_output=asked.require_same_output
        )


def _final(turns: Turns, facts: Sequence[RunFacts]) -> Comparison:
    """What the last look found; without one, what there is and that it decides nothing."""
    return turns.compare(turns.last, facts).model_copy(update={"looks": tuple(turns.looks)})


def _decided(found: Comparison) -> bool:
    """Whether every question that was asked is answered: the gates, or where there are none the headline."""
    limits = [gate for gate in found.gates if gate.measure != "same_output"]
    if limits:
        return all(gate.outcome != "inconclusive" for gate in limits)
    return found.outcome != "cannot tell"


def _samples_failed(series: LaunchSeries) -> bool:
    return any(entry.status == "failed" and entry.measured for entry in series.entries)


def _context(side: Side, directory: RunDirectory, listener: Listener) -> StageContext:  # type: ignore[type-arg]
    plan = side.plan
    return StageContext(
        STAGE, plan.config.pipeline.section(STAGE), plan.config, directory.path, plan.inputs, _Nowhere()
    )


class _Nowhere:
    """Each launch says how far it is by itself."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None
