"""The trend for people: words, tables, drawings; the command line of `trend` and `runs` on hand-made runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.cli import console
from llm_perf_opt.cli import main as cli
from llm_perf_opt.records.history import RunList, Trend
from llm_perf_opt.reports.charts.curves import Curves
from llm_perf_opt.reports.trend import trend_document
from tests.history import past_run
from tests.records import workload


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    console.set_level()


def command(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(argv))
    code = caught.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def nightly(tmp_path: Path) -> str:
    """Six runs and, with another torch, six more that take a fifth longer."""
    newer = workload().device.model_copy(update={"torch_version": "3.x"})
    for day in range(12):
        scale = (1.2 if day >= 6 else 1) * (1 + day % 5 / 500)
        past_run(tmp_path / "nightly" / f"{day:02}", day, scale, device=newer if day >= 6 else workload().device)
    return "nightly"


def test_a_step_is_named_with_what_changed_there(nightly: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("trend", nightly, "--figure", "e2e.latency_ms", "--limit", "2") == 0
    out, err = capsys.readouterr()
    assert err == ""
    (step,) = (line for line in out.splitlines() if line.startswith("- "))
    assert step.startswith(
        "- e2e.latency_ms is slower from nightly/06 (2026-01-07 00:00) on: +20.0 % (98.48 % interval"
    )
    assert "exact rank interval) over the 6 runs up to nightly/05 and the 6 after" in step
    assert step.endswith("Changed there: software: torch 2.x → 3.x.")
    assert "nightly/10" in out and "nightly/09" not in out
    assert "The newest 2 of 12 runs" in out


def test_nothing_is_said_where_nothing_is_clear(nightly: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("trend", *(f"{nightly}/{day:02}" for day in range(9))) == 0
    assert "No step is clear." in capsys.readouterr().out


def test_the_page_the_record_and_the_drawings(nightly: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command("trend", nightly, "--json", "--output", "page", "--figure", "ttft_ms") == 0
    out, err = capsys.readouterr()
    found = Trend.model_validate_json(out)
    assert Trend.read(tmp_path / "page" / "trend.json") == found
    (series,) = found.series
    assert [step.point for step in series.steps] == [6]
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["report.html", "report.md", "trend.json"]
    assert "wrote page/report.html" in err
    (chart,) = (
        block
        for part in trend_document(found, drawn=True).sections
        for block in part.blocks
        if isinstance(block, Curves)
    )
    drawn = chart.data()
    assert [len(curve["spots"]) for curve in drawn["curves"]] == [12]
    assert [(at, step) for at, _, step in drawn["marks"]] == [(5.5, False), (5.5, True)]
    assert "torch 2.x" in drawn["marks"][0][1]
    assert drawn["labels"][0] == (0.0, "2026-01-01")
    assert not drawn["from_zero"]


def test_runs_lists_and_counts_what_it_passes_over(nightly: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(nightly, "notes").mkdir()
    assert command("runs", nightly, "--limit", "3") == 0
    out = capsys.readouterr().out
    assert out.index("nightly/11") < out.index("nightly/10") < out.index("nightly/09")
    assert "The newest 3 of 12" in out
    assert "1 folder was passed over" in out and "notes" not in out
    assert command("--verbose", "runs", nightly) == 0
    assert "- nightly/notes: it holds no run" in capsys.readouterr().out
    assert command("runs", nightly, "--json", "--limit", "0") == 0
    found = RunList.model_validate_json(capsys.readouterr().out)
    assert (len(found.runs), found.found, len(found.passed_over)) == (12, 12, 1)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["trend", "nowhere"], 3, "nowhere is no folder"),
        (["trend", ".", "--figure", "ttft"], 2, "did you mean ttft_ms"),
        (["runs"], 3, "tmp/profile-output is no folder"),
        (["runs", "--limit", "-1"], 2, "--limit"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*argv) == code
    assert words in capsys.readouterr().err


def test_a_folder_without_runs_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("runs", ".") == command("trend", ".") == 0
    assert "There are no runs" in capsys.readouterr().out
