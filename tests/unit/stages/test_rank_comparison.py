"""What the profiles of all ranks of one run become, and what a report reads of them."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.analysis.explained import PhaseParts, Profiled, phase_parts
from llm_perf_opt.artifacts.layout import PROFILE, TABLES, WORKLOAD, launch_dir, rank_dir
from llm_perf_opt.captures.ranks import write_rank
from llm_perf_opt.records.columns import ANNOTATION
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Profile, RankFacts
from llm_perf_opt.reports.facts import _records
from llm_perf_opt.stages.torch_profiler import STAGE
from llm_perf_opt.stages.torch_profiler.execute import compare_ranks
from tests.records import workload
from tests.unit.timeline.build import Rows, Span

MS = 10**6


class Quiet:
    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None


def leave(stage: Path, rank: int, *, late_ns: int = 0, host: str = "one", launches: int = 1) -> Path:
    """What a rank leaves that comes late for the last of nine all-reduces; its clock shows its rank in hours more where
    its machine is its own."""
    folder = rank_dir(launch_dir(stage, 0, launches), rank)
    folder.mkdir(parents=True)
    ahead = 0 if host == "one" else rank * 3600 * 10**9
    spans = [Span(ahead, ahead + 90 * MS, name="prefill", kind=ANNOTATION)]
    for number in range(9):
        start = ahead + number * 10 * MS + (late_ns if number == 8 else 0)
        end = ahead + number * 10 * MS + 9 * MS
        spans.append(Span(start - 5000, start - 1000, name="c10d::allreduce_"))
        spans.append(Span(start, end, thread=1, name="gloo:all_reduce", kind=ANNOTATION))
    write_rank(Rows(spans=spans, threads=[0, 0], devices=0).events(), folder, "trace.json.gz")
    facts = RankFacts(rank=rank, world_size=2, host=host, backend="gloo", weight_bytes=1)
    (folder / WORKLOAD).write_text(workload(rank=facts).model_dump_json())
    return folder


def read(stage: Path) -> dict[type, list[object]]:
    found: dict[type, list[object]] = {}
    for one in _records(stage.parent, stage.name, dict(STAGE.records), imported=False):
        found.setdefault(type(one.record), []).append(one.record)
    return found


def only(records: dict[type, list[object]], kind: type) -> object:
    (record,) = records[kind]
    return record


def test_a_report_reads_the_record_of_all_ranks_and_the_timings_of_the_first(tmp_path: Path) -> None:
    stage = tmp_path / "torch_profiler"
    own = [leave(stage, rank, late_ns=late) for rank, late in enumerate((0, 4 * MS))]
    compare_ranks(stage, 2, Quiet())
    found = read(stage)
    line = only(found, DeviceTimeline)
    assert isinstance(line, DeviceTimeline)
    assert [(row.rank, row.skew_ns, row.late_ns, row.devices) for row in line.ranks] == [
        (0, 4 * MS, 0, ()),
        (1, 0, 4 * MS, ()),
    ]
    assert line.rank_comparison is not None
    assert (line.rank_comparison.straggler, line.rank_comparison.clocks) == (1, 1)
    profile, tables = only(found, Profile), only(found, ProfileTables)
    assert isinstance(profile, Profile)
    assert isinstance(tables, ProfileTables)
    assert profile.events == sum(Profile.read(folder / PROFILE).events for folder in own)
    calls = [{row.name: row.calls for row in ProfileTables.read(folder / TABLES).operators} for folder in own]
    assert {row.name: row.calls for row in tables.operators} == {name: 2 * calls[0][name] for name in calls[0]}
    assert any("2 ranks added up" in note for note in profile.notes)
    assert only(found, type(workload())) == workload(rank=RankFacts.model_validate(_facts(own[0])))


def _facts(folder: Path) -> dict[str, object]:
    rank = type(workload()).read(folder / WORKLOAD).rank
    assert rank is not None
    return rank.model_dump()


def test_ranks_of_several_machines_have_clocks_of_their_own(tmp_path: Path) -> None:
    stage = tmp_path / "torch_profiler"
    for rank in range(2):
        leave(stage, rank, late_ns=rank * 4 * MS, host=f"node-{rank}", launches=3)
    compare_ranks(stage, 2, Quiet())
    line = only(read(stage), DeviceTimeline)
    assert isinstance(line, DeviceTimeline)
    assert line.rank_comparison is not None
    assert (line.rank_comparison.clocks, line.rank_comparison.straggler) == (2, 1)
    assert [row.offset_ns for row in line.ranks] == [0, 3600 * 10**9]


def test_a_rank_that_left_no_profile_is_said_to_be_missing(tmp_path: Path) -> None:
    stage = tmp_path / "torch_profiler"
    leave(stage, 1)
    leave(stage, 0).joinpath(PROFILE).unlink()
    compare_ranks(stage, 2, Quiet())
    record = DeviceTimeline.read(stage / "timeline.json")
    assert record.rank_comparison is not None
    assert record.rank_comparison.missing == (0,)


def test_ranks_without_profiles_leave_nothing(tmp_path: Path) -> None:
    rank_dir(tmp_path, 0).mkdir()
    (tmp_path / "timeline.json").write_text("of an earlier attempt")
    compare_ranks(tmp_path, 2, Quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["rank-0"]


def test_what_explains_a_change_is_the_mean_of_the_ranks(tmp_path: Path) -> None:
    stage = tmp_path / "torch_profiler"
    own = [leave(stage, rank) for rank in range(2)]
    compare_ranks(stage, 2, Quiet())

    def parts(folder: Path) -> PhaseParts | None:
        line = DeviceTimeline.read(folder / "timeline.json")
        return phase_parts(
            "prefill.latency_ms", Profiled(Profile.read(folder / PROFILE), ProfileTables.read(folder / TABLES), line)
        )

    assert parts(stage) == parts(own[0]) is not None
