"""The kernels of one device, phase, range or rank, from the tables of a run and from files, against brute force."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from llm_perf_opt.analysis.timeline.launched_in import launched_in, range_names
from llm_perf_opt.analysis.timeline.state import analysed
from llm_perf_opt.analysis.timeline.steps import PROFILER_STEP
from llm_perf_opt.captures.timeline import analyse, write_timeline
from llm_perf_opt.captures.top_file import to_yaml
from llm_perf_opt.captures.top_kernels import top_kernels
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.formats.nsys_events import read_events
from llm_perf_opt.records.columns import COPY, GRAPH, PUSH_POP, PYTHON
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.kernels import Choice, TopKernels
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.top_kernels import top_document
from tests.unit.timeline import brute
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.files import write_nsys
from tests.unit.timeline.strategies import time_lines

ROWS = Rows(
    work=[
        Piece(10, 20, correlation=1),
        Piece(30, 35, correlation=2),
        Piece(10, 40, device=1, correlation=3),
        Piece(50, 90, kind=GRAPH, correlation=4),
        Piece(100, 170, kind=COPY, correlation=5),
        Piece(180, 180, correlation=6),
    ],
    calls=[Call(time, time + 1, correlation=time) for time in range(1, 7)],
    spans=[Span(1, 4, name="decode", kind=PUSH_POP), Span(2, 3, name="step", kind=PUSH_POP), Span(5, 7, name="later")],
    devices=2,
)


def run_of(folder: Path, rows: Rows = ROWS) -> Path:
    """A run whose nsys stage left a time line, and the export that it is of."""
    (folder / "nsys").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    write_nsys(folder / "nsys" / "run.sqlite", rows)
    write_timeline(analyse(read_events(folder / "nsys" / "run.sqlite"), "run.nsys-rep"), folder / "nsys")
    return folder


def figures(top: TopKernels) -> list[tuple[str, int | None, float | None, float | None]]:
    return [(row.name, row.launches, row.total_ms and round(row.total_ms * 1e6), row.share) for row in top.kernels]


@pytest.mark.parametrize(
    ("choice", "launches", "total", "share"),
    [
        (Choice(), 3, 45, 45 / 85),
        (Choice(device=0), 2, 15, 15 / 55),
        (Choice(device=1), 1, 30, 1),
        (Choice(phase="decode"), 3, 45, 1),
        (Choice(range="step"), 1, 5, 1),
        (Choice(range="decode", device=0), 2, 15, 1),
    ],
)
def test_a_run_and_its_export_agree(tmp_path: Path, choice: Choice, launches: int, total: int, share: float) -> None:
    run = run_of(tmp_path / "run")
    for place in (run, run / "nsys" / "run.sqlite"):
        found = top_kernels(place, 10_000, choice)
        assert figures(found) == [("gemm", launches, total, round(share, 6))]
        assert found.source.endswith(str(choice))
        assert (found.whole_graphs is not None) == (share < 1)
        if found.whole_graphs is not None:
            assert (found.whole_graphs.launches, round(found.whole_graphs.total_ms * 1e6)) == (1, 40)
            assert found.whole_graphs.share + (found.kernels[0].share or 0) == pytest.approx(1, abs=1e-6)


@given(time_lines())
def test_what_is_launched_in_a_range_against_brute_force(rows: Rows) -> None:
    state = analysed(rows.events())
    names = range_names(state)
    spans = [span for span in rows.spans if span.kind != PYTHON and not span.name.startswith(PROFILER_STEP)]
    assert set(names) == {span.name for span in spans}
    calls = [brute.call_of(rows, piece) for piece in rows.work]
    for name in names:
        mine = [span for span in spans if span.name == name]
        inside = [call is not None and bool(brute.around(mine, call.thread, call.start)) for call in calls]
        assert launched_in(state, name).tolist() == inside


def test_ranks_keep_the_device_numbers_of_the_report(tmp_path: Path) -> None:
    stage = tmp_path / "torch_profiler"
    (tmp_path / "run.json").write_text("{}")
    lines = []
    for rank, length in enumerate((10, 30)):
        (stage / f"rank-{rank}").mkdir(parents=True)
        captured = analyse(Rows(work=[Piece(0, length)]).events(), f"{rank}.json")
        write_timeline(captured, stage / f"rank-{rank}")
        lines.append(captured.record)
    devices = [
        line.devices[0].model_copy(update={"device": number, "rank": number}) for number, line in enumerate(lines)
    ]
    whole = lines[0].model_copy(update={"devices": tuple(devices)})
    (stage / "timeline.json").write_text(DeviceTimeline.model_dump_json(whole))
    assert figures(top_kernels(tmp_path, 1)) == [("gemm", 2, 40, 1)]
    for choice in (Choice(rank=1), Choice(device=1), Choice(rank=1, device=1)):
        assert figures(top_kernels(tmp_path, 1, choice)) == [("gemm", 1, 30, 1)]
    for choice, remedy in ((Choice(rank=2), "one of 0, 1"), (Choice(device=5), "one of 0, 1")):
        with pytest.raises(ConfigError) as caught:
            top_kernels(tmp_path, 1, choice)
        assert caught.value.remedy == remedy
    with pytest.raises(ConfigError, match="keeps no export and no trace"):
        top_kernels(tmp_path, 1, Choice(range="decode"))


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    for choice, remedy in (
        (Choice(range="steps"), "did you mean step?"),
        (Choice(phase="prefill"), "one of decode, outside"),
        (Choice(device=2), "one of 0, 1"),
        (Choice(rank=0), "leave out --rank"),
    ):
        with pytest.raises(ConfigError) as caught:
            top_kernels(run, 1, choice)
        assert caught.value.remedy == remedy
    with pytest.raises(ConfigError, match="is one file"):
        top_kernels(run / "nsys" / "run.sqlite", 1, Choice(rank=0))
    (run / "nsys" / "timeline.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(StageError, match=r"timeline\.parquet cannot be read"):
        top_kernels(run, 1)


def test_graphs_traced_whole_are_a_row_of_their_own_with_or_without_kernels(tmp_path: Path) -> None:
    mixed = top_document(top_kernels(run_of(tmp_path / "run"), 1))
    assert "| CUDA graphs, traced whole | unknown |" in to_markdown(mixed)
    alone = tmp_path / "alone.sqlite"
    write_nsys(alone, Rows(work=[Piece(0, 5, kind=GRAPH)], calls=[Call(0, 1)]))
    found = top_kernels(alone, 1)
    assert found.kernels == ()
    assert found.whole_graphs is not None
    assert found.whole_graphs.share == 1
    with pytest.raises(MissingError, match="only CUDA graphs traced whole"):
        to_yaml(found)


@pytest.mark.real_data
def test_two_recorded_gpus_add_up(shared_data: Path) -> None:
    path = shared_data / "nsys" / "h100-2gpu-nsys2026.2.sqlite"
    both = top_kernels(path, 10_000)
    each = [top_kernels(path, 10_000, Choice(device=number)) for number in (0, 1)]
    assert sum(row.launches or 0 for row in both.kernels) == 3442
    assert sum(row.total_ms or 0 for top in each for row in top.kernels) == pytest.approx(
        sum(row.total_ms or 0 for row in both.kernels)
    )
    assert not any("copy" in row.name.lower().partition("(")[0].partition("<")[0] for row in both.kernels)
