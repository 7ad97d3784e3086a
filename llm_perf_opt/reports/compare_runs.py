"""From what two runs hold to the record of their comparison."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.comparison import RATES, compare_figures
from llm_perf_opt.analysis.differences import (
    compare_work,
    config_differences,
    environment_differences,
    input_differences,
)
from llm_perf_opt.analysis.gates import Gate, check_names, decide
from llm_perf_opt.analysis.metrics import throttle_note
from llm_perf_opt.analysis.self_times import kernel_changes, operator_changes
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.comparison import Comparison, FigureChange, Profiles, RunIdentity, StageComparison
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Profile, Workload
from llm_perf_opt.registry import stages_leaving
from llm_perf_opt.reports.facts import Found, RunFacts, Setup
from llm_perf_opt.reports.sections.figures import shared_remarks
from llm_perf_opt.reports.units import percent_interval, signed_percent

VERDICT_FIGURES = {
    "e2e.latency_ms": "end-to-end time",
    "prefill.latency_ms": "prefill time",
    "decode.tpot_ms": "time per output token",
}
"""What the verdict speaks of; the first decides which run is called faster."""


def compare_runs(a: RunFacts, b: RunFacts, gates: Sequence[Gate] = ()) -> Comparison:
    """Hold B against A.

    Raises:
        ConfigError: a gate names a stage or figure that there is not.
        MissingError: no stage was measured in both.
    """
    headline = _headline(a, b)
    timed = tuple(dict.fromkeys((*a.measured, *b.measured)))
    # A stage that neither run timed may be named, and decides nothing.
    known = tuple(dict.fromkeys((*stages_leaving(Workload), *timed)))
    check_names(gates, known, tuple(a.measured[headline].metrics.metrics))
    stages = tuple(_stage(stage, a, b) for stage in timed if stage in a.measured and stage in b.measured)
    quoted = next(stage for stage in stages if stage.stage == headline)
    return Comparison(
        a=_identity(a),
        b=_identity(b),
        verdict=_verdict(quoted, same_run=a.path.resolve() == b.path.resolve()),
        headline_stage=headline,
        gates=tuple(decide(gate, headline, stages) for gate in gates),
        stages=stages,
        config=config_differences(_setup(a).config, _setup(b).config),
        environment=environment_differences(
            _setup(a).environment, a.manifest.llmperf_version, _setup(b).environment, b.manifest.llmperf_version
        ),
        inputs=input_differences(_setup(a).inputs, _setup(b).inputs),
        profiles=_profiles(a, b, stages),
    )


def _headline(a: RunFacts, b: RunFacts) -> str:
    """The stage whose timings are quoted, of those measured in both runs: one that did nothing but time, if any."""
    common = [stage for stage in a.measured if stage in b.measured]
    if common:
        return min(common, key=lambda stage: not a.measured[stage].workload.timings_only)
    measured = "; ".join(f"{name} ({run.path}): {', '.join(run.measured) or 'none'}" for name, run in _named(a, b))
    raise MissingError(
        f"no stage timed the model in both runs; {measured}",
        "compare runs that timed the model in the same stage, such as those of `llmperf infer`",
    )


def _named(a: RunFacts, b: RunFacts) -> tuple[tuple[str, RunFacts], ...]:
    return (("A", a), ("B", b))


def _setup(run: RunFacts) -> Setup:
    assert run.setup is not None, "imported files time no stage"
    return run.setup


def _identity(run: RunFacts) -> RunIdentity:
    return RunIdentity(
        path=str(run.path),
        experiment=_setup(run).config.experiment,
        created=run.manifest.created,
        llmperf_version=run.manifest.llmperf_version,
    )


def _stage(stage: str, a: RunFacts, b: RunFacts) -> StageComparison:
    one, other = a.measured[stage], b.measured[stage]
    work = compare_work(one.workload, _setup(a).inputs, other.workload, _setup(b).inputs)
    different = f"different work: {work.reason}" if work.reason is not None else None
    return StageComparison(
        stage=stage,
        work=work,
        remarks=tuple(shared_remarks([(name, text) for name, run in _named(a, b) for text in _remarks(run, stage)])),
        figures=compare_figures(one.metrics.metrics, other.metrics.metrics, different, rates=work.rates),
    )


def _remarks(run: RunFacts, stage: str) -> list[str]:
    workload, entry = run.measured[stage].workload, run.manifest.stages.get(stage)
    throttled = throttle_note(run.measured[stage].hardware)
    ended = f"the stage {entry.status}: {entry.reason}" if entry is not None and entry.reason is not None else None
    return [remark for remark in (throttled, ended, *workload.notes) if remark is not None]


def _profiles(a: RunFacts, b: RunFacts, stages: Sequence[StageComparison]) -> Profiles:
    (one, found_a, tables_a), (other, found_b, tables_b) = (_profile(run) for run in (a, b))
    missing = [name for name, found in (("A", one), ("B", other)) if found is None]
    if one is None or other is None or tables_a is None or tables_b is None:
        return Profiles(reason=f"{' and '.join(missing)} recorded no profile: `llmperf torch` makes one")
    assert found_a is not None and found_b is not None
    profiled = next((stage for stage in stages if stage.stage == found_a.stage == found_b.stage), None)
    if profiled is None or profiled.work.reason is not None:
        return Profiles(reason="the profiled stages did different work")
    if one.sample != other.sample:
        return Profiles(reason=f"A profiled sample {one.sample}, B sample {other.sample}")
    return Profiles(
        operators=operator_changes(tables_a.operators, tables_b.operators, "host"),
        operators_on_device=operator_changes(tables_a.operators, tables_b.operators, "device"),
        kernels=kernel_changes(tables_a.kernels, tables_b.kernels),
    )


def _profile(run: RunFacts) -> tuple[Profile | None, Found | None, ProfileTables | None]:
    """The profile of a run, where it was found, and its tables."""
    for found, profile in run.all(Profile):
        return profile, found, run.of_stage(found.stage, ProfileTables)
    return None, None, None


def _verdict(stage: StageComparison, *, same_run: bool) -> str:
    """One sentence."""
    if same_run:
        return "A and B are the same run: no change."
    if stage.work.reason is not None:
        return _different(stage)
    figures = {figure.name: figure for figure in stage.figures}
    leading = figures[next(iter(VERDICT_FIGURES))]
    if leading.verdict == "unknown":
        return f"Which run is faster cannot be said: {leading.reason}."
    openings = {
        "better": "B is faster than A",
        "worse": "B is slower than A",
        "no change shown": "Neither run is shown to be faster as a whole",
    }
    said = [_phrase(figures[name], words) for name, words in VERDICT_FIGURES.items()]
    return f"{openings[leading.verdict]}: {'; '.join(said)}."


def _different(stage: StageComparison) -> str:
    """Of different work at most rates."""
    rates = [figure for figure in stage.figures if figure.name == RATES[0] and figure.change_percent is not None]
    if not rates:
        return f"Different work, so no change is computed: {stage.work.reason}."
    said = _phrase(rates[0], VERDICT_FIGURES[RATES[0]])
    return f"Different numbers of tokens, so only rates are compared: {said} ({stage.work.reason})."


def _phrase(figure: FigureChange, words: str) -> str:
    if figure.change_percent is None or figure.change_percent_ci95 is None:
        return f"{words} unknown ({figure.percent_reason or figure.reason})"
    changed = f"{words} {signed_percent(figure.change_percent)}"
    said = f"no change of {words} shown" if figure.verdict == "no change shown" else changed
    return f"{said} (95 % interval {percent_interval(figure.change_percent_ci95)})"
