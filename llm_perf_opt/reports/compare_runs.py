"""From what two sides hold to the record of their comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llm_perf_opt.analysis.answers import compare_answers, said
from llm_perf_opt.analysis.comparison import AS_USUAL, Judged, Judging, compare_figures
from llm_perf_opt.analysis.differences import (
    compare_work,
    config_differences,
    environment_differences,
    input_differences,
)
from llm_perf_opt.analysis.explained import PHASES, Profiled, explain
from llm_perf_opt.analysis.gates import Gate, check_figure, check_names, decide_gates, same_output
from llm_perf_opt.analysis.metrics import throttle_note
from llm_perf_opt.analysis.self_times import kernel_changes, operator_changes
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.records.comparison import (
    Answers,
    Comparison,
    Explanation,
    Profiles,
    Replicate,
    RunIdentity,
    StageComparison,
    WorkComparison,
)
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Profile, Workload
from llm_perf_opt.registry import stages_leaving
from llm_perf_opt.reports.facts import Found, Measured, RunFacts, Setup
from llm_perf_opt.reports.machine import compare_machines_of, machine_remarks
from llm_perf_opt.reports.sections.figures import shared_remarks
from llm_perf_opt.reports.verdict import NOT_THE_SAME, sentence

Side = Sequence[RunFacts]
"""One run, or those of a folder: each a block."""


def compare_sides(
    a: Side, b: Side, gates: Sequence[Gate] = (), how: Judging = AS_USUAL, *, require_same_output: bool = False
) -> Comparison:
    """Hold B against A.

    Raises:
        ConfigError: a gate or the headline names a stage or figure that there is not, or repeats of one launch cannot
            stand for launches.
        MissingError: no stage was measured in all runs.
    """
    headline = _headline(a, b)
    timed = tuple(dict.fromkeys(stage for run in (*a, *b) for stage in run.measured))
    # A stage that no run timed may be named, and decides nothing.
    known = tuple(dict.fromkeys((*stages_leaving(Workload), *timed)))
    names = tuple(a[0].measured[headline].metrics.metrics)
    check_names(gates, known, names)
    check_figure(how.figure, names)
    replicate = _replicate(a, b, headline, how)
    machine = compare_machines_of(a, b, headline, in_turn=replicate == "launch")
    if machine.said("withheld") is not None:
        how = replace(how, machine=NOT_THE_SAME)
    common = [stage for stage in timed if all(stage in run.measured for run in (*a, *b))]
    work = {stage: _work(stage, a, b) for stage in common}
    judged = {stage: _figures(stage, (a, b), replicate, how, work[stage]) for stage in common}
    stages = {stage: _stage(stage, a, b, work[stage], judged[stage]) for stage in common}
    found = list(decide_gates(gates, headline, stages, judged, replicate=replicate, how=how))
    if require_same_output:
        found.append(same_output(headline, stages[headline].answers))
    comparison = Comparison(
        a=tuple(_identity(run, headline) for run in a),
        b=tuple(_identity(run, headline) for run in b),
        verdict="",
        headline_stage=headline,
        headline_figure=how.figure,
        outcome=judged[headline][how.figure].change.outcome,
        replicate=replicate,
        level=how.level,
        tolerance_percent=how.tolerance_percent,
        gates=tuple(found),
        stages=tuple(stages.values()),
        config=config_differences(_setup(a[0]).config, _setup(b[0]).config),
        environment=environment_differences(
            _setup(a[0]).environment,
            a[0].manifest.llmperf_version,
            _setup(b[0]).environment,
            b[0].manifest.llmperf_version,
        ),
        inputs=input_differences(_setup(a[0]).inputs, _setup(b[0]).inputs),
        machine=machine,
        profiles=_profiles(a, b, list(stages.values())),
    )
    return comparison.model_copy(update={"verdict": sentence(comparison)})


def _headline(a: Side, b: Side) -> str:
    """The stage whose timings are quoted, of those measured in all runs: one that did nothing but time, if any."""
    common = [stage for stage in a[0].measured if all(stage in run.measured for run in (*a, *b))]
    if common:
        return min(common, key=lambda stage: not a[0].measured[stage].workload.timings_only)
    measured = "; ".join(f"{name} ({run.path}): {', '.join(run.measured) or 'none'}" for name, run in _named(a, b))
    raise MissingError(
        f"no stage timed the model in {'both' if len(a) == len(b) == 1 else 'all'} runs; {measured}",
        "compare runs that timed the model in the same stage, such as those of `llmperf infer`",
    )


def _replicate(a: Side, b: Side, headline: str, how: Judging) -> Replicate:
    """What is independent: launches of one block, made in turn; else blocks alone, each a run."""
    if how.within_launch:
        counts = [sum(len(run.measured[headline].launches) for run in side) for side in (a, b)]
        if counts != [1, 1]:
            raise ConfigError(
                f"--within-launch compares the repeats of one launch a side: A has {counts[0]}, B {counts[1]}",
                "leave it out: launches are compared",
            )
        return "repeat"
    if len(a) == len(b) == 1 and _blocks(a[0].measured[headline]) & _blocks(b[0].measured[headline]):
        return "launch"
    return "block"


def _blocks(measured: Measured) -> set[str]:
    """In which blocks its launches were made; of records of llmperf 0.2 and before none is known."""
    return {item.workload.launch.block for item in measured.launches if item.workload.launch is not None}


def _named(a: Side, b: Side) -> list[tuple[str, RunFacts]]:
    """Every run with the name of its side; numbered where that has several."""
    return [
        (name if len(side) == 1 else f"{name}[{number}]", run)
        for name, side in (("A", a), ("B", b))
        for number, run in enumerate(side)
    ]


def _setup(run: RunFacts) -> Setup:
    assert run.setup is not None, "imported files time no stage"
    return run.setup


def _identity(run: RunFacts, headline: str) -> RunIdentity:
    return RunIdentity(
        path=str(run.path),
        experiment=_setup(run).config.experiment,
        created=run.manifest.created,
        llmperf_version=run.manifest.llmperf_version,
        launches=len(run.measured[headline].launches),
    )


def _work(stage: str, a: Side, b: Side) -> WorkComparison:
    """Whether all launches of all runs did what may be compared, by the first of A against each of the others."""
    first, inputs = a[0].measured[stage].workload, _setup(a[0]).inputs
    found = compare_work(first, inputs, b[0].measured[stage].workload, _setup(b[0]).inputs)
    for name, run in _named(a, b):
        for item in run.measured[stage].launches:
            other = compare_work(first, inputs, item.workload, _setup(run).inputs)
            if other.reason is None:
                continue
            if found.reason is None:
                place = f"{name}, launch {item.number}" if len(run.measured[stage].launches) > 1 else name
                reason = other.reason if name == "B" else f"{place} against the first of A: {other.reason}"
                found = found.model_copy(update={"relation": "different", "reason": reason, "rates": other.rates})
            elif not other.rates:
                found = found.model_copy(update={"rates": False})
    return found


def _figures(
    stage: str, sides: tuple[Side, Side], replicate: Replicate, how: Judging, work: WorkComparison
) -> dict[str, Judged]:
    different = f"different work: {work.reason}" if work.reason is not None else None
    a, b = ([run.measured[stage].metrics.metrics for run in side] for side in sides)
    return compare_figures(a, b, replicate=replicate, how=how, different=different, rates=work.rates)


def _stage(stage: str, a: Side, b: Side, work: WorkComparison, judged: dict[str, Judged]) -> StageComparison:
    remarks = [(name, text) for name, run in _named(a, b) for text in _remarks(run, stage)]
    return StageComparison(
        stage=stage,
        work=work,
        remarks=tuple(shared_remarks(remarks)),
        figures=tuple(found.change for found in judged.values()),
        answers=_answers(stage, a, b),
    )


def _answers(stage: str, a: Side, b: Side) -> Answers:
    inputs = [_setup(run).inputs for run in (*a, *b)]
    digests = [[sample.sha256 for sample in item.samples] for item in inputs]
    if any(other != digests[0] for other in digests):
        return Answers(relation="unknown", reason="the runs were not made of the same inputs")
    fingerprints = {run.measured[stage].workload.work_fingerprint for run in (*a, *b)}
    launches = [[item for run in side for item in run.measured[stage].launches] for side in (a, b)]
    known = [[said(item.tokens) for item in side if item.tokens is not None] for side in launches]
    if known[0] and known[1]:
        return compare_answers(known[0], known[1], inputs[0].samples)
    if len(fingerprints) == 1 and None not in fingerprints:
        return Answers(relation="same", samples=len(digests[0]), differing=0)
    missing = " and ".join(name for name, side in zip("AB", known, strict=True) if not side)
    return Answers(relation="unknown", reason=f"{missing} holds no output ids, as runs of llmperf 0.2 and before")


def _remarks(run: RunFacts, stage: str) -> list[str]:
    measured, entry = run.measured[stage], run.manifest.stages.get(stage)
    throttled = throttle_note(measured.hardware)
    ended = f"the stage {entry.status}: {entry.reason}" if entry is not None and entry.reason is not None else None
    # What became of each launch is in the reason of the stage.
    notes = [note for note in measured.notes if note not in measured.failed]
    found = (throttled, ended, *notes, *machine_remarks(measured))
    return [remark for remark in found if remark is not None]


def _profiles(a: Side, b: Side, stages: Sequence[StageComparison]) -> Profiles:
    """What the profiled samples show; tables of the first run of each side, the change explained from all."""
    found = [[profile for run in side if (profile := _profile(run)) is not None] for side in (a, b)]
    missing = [name for name, side in zip("AB", found, strict=True) if not side]
    if missing:
        return Profiles(reason=f"{' and '.join(missing)} recorded no profile: `llmperf torch` makes one")
    (place_a, one), (place_b, other) = found[0][0], found[1][0]
    profiled = next((stage for stage in stages if stage.stage == place_a.stage == place_b.stage), None)
    if profiled is None or profiled.work.reason is not None:
        return Profiles(reason="the profiled stages did different work")
    if one.profile.sample != other.profile.sample:
        return Profiles(reason=f"A profiled sample {one.profile.sample}, B sample {other.profile.sample}")
    like = [[item for _, item in side if item.profile.sample == one.profile.sample] for side in found]
    return Profiles(
        operators=operator_changes(one.tables.operators, other.tables.operators, "host"),
        operators_on_device=operator_changes(one.tables.operators, other.tables.operators, "device"),
        kernels=kernel_changes(one.tables.kernels, other.tables.kernels),
        explained=tuple(_explained(profiled, like[0], like[1])),
    )


def _explained(stage: StageComparison, a: Sequence[Profiled], b: Sequence[Profiled]) -> Iterator[Explanation]:
    for figure in stage.figures:
        if figure.name in PHASES and figure.a.median is not None and figure.b.median is not None:
            explained = explain(figure.name, (figure.a.median, figure.b.median), a, b)
            if explained is not None:
                yield explained


def _profile(run: RunFacts) -> tuple[Found, Profiled] | None:
    """The profile of a run with what lies beside it, and where it was found."""
    for found, profile in run.all(Profile):
        tables = run.of_stage(found.stage, ProfileTables)
        if tables is not None:
            return found, Profiled(profile, tables, run.of_stage(found.stage, DeviceTimeline))
    return None
