"""`llmperf compare` on run directories made by hand: what it prints, and the exit codes of its gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.cli import console
from llm_perf_opt.cli import main as cli
from llm_perf_opt.records.comparison import Comparison
from llm_perf_opt.records.machine import MachineMoment, MachineState, MomentName
from llm_perf_opt.records.tables import KernelRow, OperatorRow, write_tables
from llm_perf_opt.records.workload import Profile, Workload
from tests.launching import timed, write_run
from tests.records import batch, hardware, model, repeat, workload

PAGE = Path(__file__).parents[3] / "docs" / "commands" / "compare.md"


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    console.set_level()


def write_profile(run: Path, self_ms: float, sample: int = 0) -> None:
    profile = Profile(sample=sample, activities=("cpu",), events=1, wall_ms=1.0, phase_ms={}, warmup_runs=0)
    (run / "torch_profiler" / "profile.json").write_text(profile.model_dump_json())
    operators = [OperatorRow("decode", "aten::mm", calls=2, self_cpu_ns=round(self_ms * 1e6))]
    kernels = [KernelRow("decode", "gemm<128>", calls=2, total_ns=round(self_ms * 2e6))]
    write_tables(run / "torch_profiler" / "profile.sqlite", operators, kernels)


def compare(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["compare", *map(str, argv)])
    code = caught.value.code
    assert isinstance(code, int)
    return code


def launches(scale: float = 1.0, count: int = 5, **changes: Any) -> list[Workload]:
    return [timed(scale * (1 + number / 1000), **changes) for number in range(count)]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Launched in turn, five a side; B takes 20 % longer than A."""
    a = write_run(tmp_path / "a", *launches(), block="one")
    return a, write_run(tmp_path / "b", *launches(1.2), block="one")


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Path]:
    """As llmperf 0.2 left them, one launch each; B takes 20 % longer."""
    return write_run(tmp_path / "old-a", timed()), write_run(tmp_path / "old-b", timed(1.2))


def test_the_verdict_comes_first_and_results_go_to_stdout(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*runs) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[3].startswith("B is slower than A: end-to-end time +20.0 % (96.8 % interval +")
    assert "exact rank interval over 5 launches a side" in " ".join(out.split())
    assert "Same work" in out
    (row,) = (line.split() for line in out.splitlines() if line.startswith("e2e.latency_ms "))
    assert row[-1] == "slower"
    assert "Less is better of times" in out
    assert "within one launch" not in out


def watched(run: Path, others: float, **changes: Any) -> None:
    """Each launch of a run was made while others kept so many of eight cores busy."""
    for folder in sorted((run / "torch_profiler").glob("launch-*")) or [run / "torch_profiler"]:
        places: tuple[tuple[MomentName, float], ...] = (("start", 0.0), ("middle", 5.0), ("end", 10.0))
        moments = [
            MachineMoment(moment=name, at_s=at_s, busy_core_s=(1 + others) * at_s, own_core_s=at_s, **changes)
            for name, at_s in places
        ]
        state = MachineState(recorded=True, cores=8, moments=tuple(moments))
        (folder / "machine.json").write_text(state.model_dump_json())


def test_where_the_machine_was_not_the_same_nothing_is_decided(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    watched(runs[0], 0.0)
    watched(runs[1], 4.0)
    assert compare(*runs, "--fail-if", "e2e.latency_ms > +5%", "--json") == 5
    found = Comparison.model_validate_json(capsys.readouterr().out)
    assert found.outcome == "cannot tell"
    assert found.verdict.startswith(
        "Cannot tell whether B is faster: the machine was not the same for A and B. As measu"
    )
    assert "Of the machine there was not the same: cores kept busy by others 0.0 in A, 4.0 in B" in found.verdict
    assert "would do" not in found.verdict, "more launches are no remedy for that"
    (gate,) = found.gates
    assert (gate.outcome, gate.reason) == ("inconclusive", "the machine was not the same for A and B")
    assert all(figure.outcome not in ("faster", "slower", "same") for figure in found.stages[0].figures)


def test_on_another_machine_a_verdict_stands_and_says_so(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    watched(runs[0], 0.0, governors=("performance",))
    watched(runs[1], 0.0, governors=("powersave",))
    assert compare(*runs, "--fail-if", "e2e.latency_ms > +5%") == 4
    out = " ".join(capsys.readouterr().out.split())
    assert "B is slower than A" in out
    assert "was not the same: CPU governor performance in A, powersave in B." in out


def test_the_other_way_round_is_faster(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(runs[1], runs[0]) == 0
    assert "B is faster than A: end-to-end time -16.7 %" in capsys.readouterr().out


def test_the_headline_is_chosen_and_may_be_another(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*runs, "--figure", "prefill.latency_ms") == 0
    assert "B is slower than A: prefill time +20.0 %" in capsys.readouterr().out
    assert compare(*runs, "--figure", "prefill.latency") == 2
    assert "did you mean prefill.latency_ms?" in capsys.readouterr().err
    assert compare(*runs, "--tolerance", "30") == 0
    assert "B and A are the same within 30 %" in capsys.readouterr().out


def test_a_run_against_itself_is_no_change(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(runs[0], runs[0]) == 0
    out = capsys.readouterr().out
    assert "A and B are the same run: no change." in out
    assert "faster" not in out.partition("Figures of")[2]
    assert "slower" not in out.partition("Figures of")[2]
    assert "Nothing: settings, model, device, environment and inputs are equal." in out


def test_one_launch_each_has_no_verdict_and_decides_no_gate(
    old: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*old, "--fail-if", "e2e.latency_ms > +5%") == 5
    out = " ".join(capsys.readouterr().out.split())
    assert "Cannot tell whether B is faster: measured at different times" in out
    assert "As measured: end-to-end time +20.0 %" in out
    assert "llmperf ab" in out


def test_within_one_launch_is_said_in_every_output(
    old: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--within-launch", "--fail-if", "e2e.latency_ms > +5%", "--output", tmp_path / "out")
    assert compare(*old, *options) == 4
    out = " ".join(capsys.readouterr().out.split())
    assert "Within one launch a side, which says nothing of the next: B is slower than A" in out
    assert "interval within one launch" in out
    for name in ("comparison.md", "comparison.html"):
        assert "interval within one launch" in (tmp_path / "out" / name).read_text(encoding="utf-8")
    record = Comparison.model_validate_json((tmp_path / "out" / "comparison.json").read_bytes())
    assert record.replicate == "repeat"
    assert compare(*old, *options, "--json") == 4
    assert "Within one launch" in Comparison.model_validate_json(capsys.readouterr().out).verdict


def test_several_launches_are_not_judged_by_their_repeats(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*runs, "--within-launch") == 2
    assert "A has 5, B 5" in capsys.readouterr().err


def test_two_runs_of_many_launches_are_two_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_run(tmp_path / "a", *launches(count=9), block="one")
    b = write_run(tmp_path / "b", *launches(2.0, count=9), block="two")
    assert compare(a, b, "--fail-if", "e2e.latency_ms > +5%") == 5
    assert "Cannot tell whether B is faster: measured at different times" in capsys.readouterr().out


def test_folders_of_five_runs_are_five_blocks_a_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, scale in (("base", 1.0), ("head", 1.2)):
        for number in range(5):
            write_run(tmp_path / side / f"run-{number}", timed(scale * (1 + number / 1000)), block=f"{side}{number}")
    assert compare(tmp_path / "base", tmp_path / "head", "--fail-if", "e2e.latency_ms > +5%") == 4
    out = " ".join(capsys.readouterr().out.split())
    assert "B is slower than A: end-to-end time +20.0 %" in out
    assert "over 5 blocks a side" in out
    assert compare(tmp_path / "base", tmp_path / "head" / "run-0") == 0
    assert "5 and 1 blocks" in capsys.readouterr().out


def test_one_run_of_other_work_makes_the_side_different_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        write_run(tmp_path / "base" / f"run-{number}", timed(), block=f"a{number}")
        other = {} if number < 4 else {"work_fingerprint": "ef" * 32, "batches": (batch(repeat(new_tokens=(9,))),)}
        write_run(tmp_path / "head" / f"run-{number}", timed().model_copy(update=other), block=f"b{number}")
    assert compare(tmp_path / "base", tmp_path / "head", "--fail-if", "e2e.latency_ms > +5%") == 5
    out = " ".join(capsys.readouterr().out.split())
    assert "B[4] against the first of A: batch 0 made 5 new tokens in A, 9 in B" in out


@pytest.mark.parametrize(
    ("limits", "code", "outcomes"),
    [
        (["e2e.latency_ms > +5%"], 4, ["crossed"]),
        (["e2e.latency_ms > +30%"], 0, ["passed"]),
        (["e2e.latency_ms > +20%"], 5, ["inconclusive"]),
        (["e2e.latency_ms > +30%", "e2e.latency_ms > +20%"], 5, ["passed", "inconclusive"]),
        (["e2e.latency_ms > +20%", "torch_profiler:ttft_ms > +1"], 4, ["inconclusive", "crossed"]),
        (["e2e.latency_ms > 1"], 4, ["crossed"]),
        (["memory.peak_bytes > +0%"], 0, ["passed"]),
        (["energy.per_token_j > +5%"], 5, ["inconclusive"]),
        (["direct_inference:ttft_ms > +5%"], 5, ["inconclusive"]),
    ],
)
def test_exit_codes_of_gates_all_of_which_are_printed(
    runs: tuple[Path, Path], limits: list[str], code: int, outcomes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for limit in limits for word in ("--fail-if", limit)]
    assert compare(*runs, *options) == code
    out, err = capsys.readouterr()
    for limit, outcome in zip(limits, outcomes, strict=True):
        assert f"- {outcome}: {limit} (" in out
    assert err.startswith("error: 1 of" if code else "")
    assert compare(*runs, *options, "--json") == code
    gates = Comparison.model_validate_json(capsys.readouterr().out).gates
    assert [gate.outcome for gate in gates] == outcomes


def test_a_faster_run_that_says_something_else_is_not_called_just_faster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", *launches(), block="one", tokens=(1, 2, 3, 4, 5))
    other = launches(0.5, work_fingerprint="ef" * 32)
    b = write_run(tmp_path / "b", *other, block="one", tokens=(1, 2, 9, 4, 5))
    assert compare(a, b) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "B is faster than A, with other answers" in out
    assert "B says something else to 1 of 1 samples (100 %), first to dataset.prompt at output token 2." in out
    assert compare(a, b, "--require-same-output", "--fail-if", "e2e.latency_ms > +5%", "--json") == 4
    gates = Comparison.model_validate_json(capsys.readouterr().out).gates
    assert [(gate.expression, gate.outcome) for gate in gates] == [
        ("e2e.latency_ms > +5%", "passed"),
        ("--require-same-output", "crossed"),
    ]
    c = write_run(tmp_path / "c", *other, block="one")
    assert compare(a, c, "--require-same-output") == 5
    assert "B holds no output ids" in capsys.readouterr().out
    assert compare(a, a, "--require-same-output") == 0


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("e2e.latency > +5%", "did you mean e2e.latency_ms?"),
        ("direct:ttft_ms > +5%", "did you mean direct_inference?"),
        ("ttft_ms", "quote the whole limit"),
    ],
)
def test_a_wrong_limit_is_a_usage_error(
    runs: tuple[Path, Path], limit: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*runs, "--fail-if", limit) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_what_is_no_run_is_missing(runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for other in (tmp_path / "none", tmp_path / "empty", runs[0] / "run.json"):
        assert compare(runs[0], other) == 3
        assert compare(other, runs[0]) == 3
        assert "run.json" in capsys.readouterr().err


def test_runs_without_a_common_stage_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_run(tmp_path / "a", timed()), write_run(tmp_path / "b", timed(stage="direct_inference"))
    assert compare(a, b) == 3
    err = capsys.readouterr().err
    assert f"A ({a}): torch_profiler; B ({b}): direct_inference" in err
    assert compare(a, write_run(tmp_path / "c")) == 3


def test_the_plain_stage_is_the_headline_where_both_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = timed(stage="direct_inference", timings_only=True)
    a = write_run(tmp_path / "a", timed(), plain)
    b = write_run(tmp_path / "b", timed(1.5), timed(0.5, stage="direct_inference", timings_only=True))
    assert compare(a, b, "--json") == 0
    found = Comparison.model_validate_json(capsys.readouterr().out)
    assert found.headline_stage == "direct_inference"
    assert "As measured: end-to-end time -50.0 %" in found.verdict
    assert [stage.stage for stage in found.stages] == ["torch_profiler", "direct_inference"]
    assert compare(a, write_run(tmp_path / "c", timed()), "--fail-if", "ttft_ms > +50%", "--json") == 5
    assert Comparison.model_validate_json(capsys.readouterr().out).gates[0].stage == "torch_profiler"


def test_different_work_shows_values_computes_no_change_and_decides_no_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", timed())
    longer = workload(batch(*[repeat(new_tokens=(9,))] * 6), work_fingerprint="ef" * 32)
    b = write_run(tmp_path / "b", longer)
    inputs = (b / "inputs.yaml").read_text().replace("0" * 64, "1" * 64)
    (b / "inputs.yaml").write_text(inputs)
    assert compare(a, b, "--fail-if", "ttft_ms > 1") == 5
    out = capsys.readouterr().out
    assert "Different work, so no change is computed: batch 0 is not made of the same inputs." in out
    assert "ttft_ms" in out
    assert "%" not in "".join(line for line in out.splitlines() if line.startswith("ttft_ms"))


def test_of_other_numbers_of_tokens_rates_alone_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_run(tmp_path / "a", timed())
    longer = [repeat(new_tokens=(9,), step_ms=(5.0,) * 8, e2e_ms=90.0 + number / 100) for number in range(6)]
    b = write_run(tmp_path / "b", workload(batch(*longer), work_fingerprint="ef" * 32))
    assert compare(a, b, "--fail-if", "decode.tpot_ms > +50%", "--json") == 5
    found = Comparison.model_validate_json(capsys.readouterr().out)
    (stage,) = found.stages
    assert (stage.work.relation, stage.work.rates) == ("different", True)
    changed = {figure.name for figure in stage.figures if figure.change_percent is not None}
    assert changed == {"decode.tpot_ms", "decode.tokens_per_s"}
    assert found.verdict.startswith("Different numbers of tokens, so only rates are compared, without a verdict: ")
    assert "batch 0 made 5 new tokens in A, 9 in B" in found.verdict


def test_comparable_work_names_what_is_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_run(tmp_path / "a", timed())
    changed = timed(0.5, work_fingerprint="ef" * 32, model=model(dtype="bfloat16"), execution="compile")
    b = write_run(tmp_path / "b", changed, overrides=("infer.execution=compile", "infer.cache=static"))
    assert compare(a, b) == 0
    out = capsys.readouterr().out
    assert "Comparable: the same inputs, prompt tokens and numbers of new tokens" in out
    assert "Not the same: model.dtype, execution." in out
    (row,) = (line.split() for line in out.splitlines() if " infer.execution " in line)
    assert row == ["setting", "infer.execution", "eager", "compile"]


def test_a_throttled_run_says_so_beside_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_run(tmp_path / "a", timed()), write_run(tmp_path / "b", timed())
    (b / "torch_profiler" / "hardware.json").write_text(hardware().model_dump_json())
    assert compare(a, b) == 0
    assert "- B: the GPU was throttled (sw_power_cap in 50% of samples)" in capsys.readouterr().out


def test_operators_and_kernels_of_both_profiles(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*runs) == 0
    assert "Not compared: A and B recorded no profile" in capsys.readouterr().out
    write_profile(runs[0], 1.0)
    assert compare(*runs) == 0
    assert "Not compared: B recorded no profile" in capsys.readouterr().out
    write_profile(runs[1], 3.0)
    assert compare(*runs) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("decode ")]
    assert rows == [
        ["decode", "aten::mm", "2", "2", "1.000", "3.000", "+2.000"],
        ["decode", "gemm<128>", "2", "2", "2.000", "6.000", "+4.000"],
    ]
    assert compare(runs[0], runs[0]) == 0
    assert "No self time differs." in capsys.readouterr().out
    write_profile(runs[1], 3.0, sample=1)
    assert compare(*runs) == 0
    assert "Not compared: A profiled sample 0, B sample 1" in capsys.readouterr().out
    (runs[1] / "torch_profiler" / "profile.sqlite").write_text("no database")
    assert compare(*runs) == 3
    assert "profile.sqlite cannot be read" in capsys.readouterr().err


def test_output_writes_three_files_and_overwrites_them(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert compare(*runs, "--output", tmp_path / "out", "--fail-if", "ttft_ms > +1%") == 4
        assert "wrote " in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.html",
        "comparison.json",
        "comparison.md",
    ]
    record = Comparison.model_validate_json((tmp_path / "out" / "comparison.json").read_bytes())
    assert record.schema_version == 2
    for name in ("comparison.md", "comparison.html"):
        assert "B is slower than A" in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_json_is_the_whole_of_stdout(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*runs, "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    (stage,) = json.loads(out)["stages"]
    (found,) = (item for item in stage["figures"] if item["name"] == "decode.mfu")
    assert found["change_percent"] is None
    assert found["a"]["median"] is None
    assert found["reason"].startswith("not measured in A: ")


def test_help_shows_an_example_and_the_page_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--help") == 0
    out = capsys.readouterr().out
    assert "llmperf compare runs/before runs/after" in out
    page = PAGE.read_text(encoding="utf-8")
    options = {word.strip(",.)") for word in out.split() if word.startswith("--")} - {"--help"}
    known = {"--fail-if", "--require-same-output", "--figure", "--tolerance", "--within-launch", "--output", "--json"}
    assert known == options
    for option in options:
        assert option in page
