"""From files to a run, without any process."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from llm_perf_opt.analysis.kernels.analyze import analyze_launch, is_read
from llm_perf_opt.artifacts.files import copy_file
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError, StageError
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS, read_summary
from llm_perf_opt.importing import execute
from llm_perf_opt.importing.execute import import_files, plan_import
from llm_perf_opt.importing.recognise import recognise
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.tools import NcuCapture, NsysCapture
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.reports.facts import RunFacts, read_run
from llm_perf_opt.run import plan_resumption
from tests.unit.formats.ncu_rep_writer import block, encode, kernel, report, rule
from tests.unit.timeline.example import EVENTS, event
from tests.unit.timeline.files import trace_events
from tests.unit.timeline.graph_files import Launch, capture_rows, replay_rows

T = TypeVar("T")
RAW = '"ID","Process ID","Kernel Name","gpu__time_duration.sum"\n"","","","ns"\n"0","7","f","12"\n'
TABLE = (
    ",".join(SUMMARY_COLUMNS) + '\n75.0,120,4,30.0,25.0,10,60,21.6,"f<int, float>"\n25.0,40,1,40.0,40.0,40,40,0.0,g\n'
)


class Quiet:
    """Nobody watches."""

    def __init__(self) -> None:
        self.ended: dict[str, Outcome] = {}

    def update(self, phase: str, done: int, total: int, steps: int) -> None: ...

    def stage_begins(self, name: str) -> Quiet:
        return self

    def stage_ends(self, name: str, outcome: Outcome) -> None:
        self.ended[name] = outcome

    def note(self, message: str) -> None:
        raise AssertionError(message)

    def problem(self, message: str) -> None:
        raise AssertionError(message)


def made(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def export(path: Path, kernels: Sequence[tuple[str, int]], ranges: int = 0, pid: int = 7) -> Path:
    """An nsys export with kernels of these names and durations."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE META_DATA_EXPORT (name TEXT, value TEXT)")
        connection.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        if kernels:
            connection.execute(
                "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL "
                "(start INTEGER, end INTEGER, demangledName INTEGER, globalPid INTEGER, deviceId INTEGER, "
                "correlationId INTEGER)"
            )
        for number, (name, ns) in enumerate(kernels):
            connection.execute("INSERT INTO StringIds VALUES (?, ?)", (number, name))
            row = (0, ns, number, pid << 24, number)
            connection.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, 0, ?)", row)
        connection.execute(
            "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, textId INTEGER, "
            "domainId INTEGER, globalTid INTEGER)"
        )
        rows = [(n, n + 1, 59, f"step[{n}]", None, 0, 7) for n in range(ranges)]
        connection.executemany("INSERT INTO NVTX_EVENTS VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    return path


def imported(tmp_path: Path, *files: Path) -> tuple[Manifest, RunFacts]:
    run_path = tmp_path / "the run"
    manifest = import_files(plan_import(files, tmp_path, run_path), ["llmperf", "import"], Quiet()).manifest
    assert manifest == read_manifest(run_path)
    assert {file.name for file in run_path.iterdir()} <= {
        *("run.json", "report.md", "report.html", "summary.json", "llmperf.log", "tmp", *manifest.stages)
    }
    return manifest, read_run(run_path, manifest)


def the(kind: type[T], facts: RunFacts) -> T:
    found = facts.first(kind)
    assert found is not None
    return found


def statuses(manifest: Manifest) -> dict[str, tuple[str, int]]:
    return {name: (entry.status, entry.exit_code) for name, entry in manifest.stages.items()}


def test_one_of_each(tmp_path: Path) -> None:
    content = report(block(kernels=[kernel("f()", {0: 12.5})], strings=["gpu__time_duration.sum"]))
    files = [
        made(tmp_path, "odd #name%41?", content),
        export(tmp_path / "x.sqlite", [("a", 10), ("b", 30), ("a", 20)]),
        made(tmp_path, "t", json.dumps(EVENTS)),
    ]
    manifest, facts = imported(tmp_path, *files)
    assert (manifest.status, manifest.exit_code) == ("completed", 0)
    assert [(file.kind, file.stored, file.source) for file in manifest.imported] == [
        ("torch_trace", "torch_profiler/trace.json.gz", str(files[2])),
        ("nsys_sqlite", "nsys/run.sqlite", str(files[1])),
        ("ncu_report", "ncu/report.ncu-rep", str(files[0])),
    ]
    assert manifest.imported[2].sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.imported[2].size_bytes == len(content)
    assert (facts.setup, facts.measured) == (None, {})
    profile = the(Profile, facts)
    assert (profile.sample, profile.wall_ms, profile.activities) == (None, None, ("cpu", "cuda"))
    assert {row.name for row in the(ProfileTables, facts).kernels} == {"gemm", "graphed"}
    nsys = the(NsysCapture, facts)
    assert [(row.name, row.instances, row.total_ns) for row in nsys.kernels] == [("a", 2, 30), ("b", 1, 30)]
    assert (nsys.tool, nsys.trigger, nsys.device) == (None, None, None)
    ncu = the(NcuCapture, facts)
    assert ncu.results[0].values == {"gpu__time_duration.sum": 12.5}
    assert (ncu.tool, ncu.replay_mode) == (None, None)
    stored = facts.path / "torch_profiler" / "trace.json.gz"
    assert json.loads(gzip.decompress(stored.read_bytes())) == EVENTS
    page = (facts.path / "report.md").read_text(encoding="utf-8")
    assert "the configuration, the machine and the inputs of what was captured are not known" in page
    assert "None" not in page
    assert (facts.path / "torch_profiler" / "operators.md").is_file()
    assert page.index("the GPU was busy") < page.index("| stage | status")
    summary = json.loads((facts.path / "summary.json").read_text(encoding="utf-8"))
    assert summary["timeline"]["devices"][0]["kernels"] == 2
    assert {row["name"] for row in summary["torch"]["operators"]} >= {"aten::mm", "decode"}
    assert summary["torch"]["unattributed_device_ns"] == 7000
    assert (facts.path / "nsys" / "kernels.md").is_file()


def test_several_exports_are_added_up(tmp_path: Path) -> None:
    one, two = export(tmp_path / "a.sqlite", [("f", 10)], 10_000), export(tmp_path / "b.sqlite", [("f", 30), ("g", 5)])
    manifest, facts = imported(tmp_path, one, two)
    assert [file.stored for file in manifest.imported] == ["nsys/run.1.sqlite", "nsys/run.2.sqlite"]
    nsys = the(NsysCapture, facts)
    assert [(row.name, row.instances, row.total_ns) for row in nsys.kernels] == [("f", 2, 40), ("g", 1, 5)]
    first, second = nsys.reports
    assert (first.facts.nvtx_events, first.facts.nvtx_ranges_left_out, second.name) == (10_000, 9_800, "b.sqlite")


def test_a_report_beside_its_export_needs_no_nsys(tmp_path: Path) -> None:
    files = [
        made(tmp_path, "run.nsys-rep", b"NVIDIA Tegra Profiler Report 2026@1"),
        export(tmp_path / "run.sqlite", [("f", 10)]),
    ]
    manifest, facts = imported(tmp_path, *files)
    assert statuses(manifest) == {"nsys": ("completed", 0)}
    assert [file.stored for file in manifest.imported] == ["nsys/run.nsys-rep", "nsys/run.sqlite"]
    nsys = the(NsysCapture, facts)
    assert len(nsys.reports) == 1


def test_a_report_without_nsys_is_copied_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_perf_opt.importing.importers.nsys.find_tool", lambda name: None)
    content = b"NVIDIA Tegra Profiler Report 2026@1"
    manifest, facts = imported(tmp_path, made(tmp_path, "x", content), export(tmp_path / "y", [("f", 10)]))
    assert (manifest.exit_code, statuses(manifest)) == (3, {"nsys": ("failed", 3)})
    assert "nsys export --type sqlite" in (manifest.stages["nsys"].remedy or "")
    assert (facts.path / "nsys" / "run.1.nsys-rep").read_bytes() == content
    assert manifest.imported[0].problem is not None
    nsys = the(NsysCapture, facts)  # the other one was read
    assert [row.name for row in nsys.kernels] == ["f"]


def test_a_kernel_table(tmp_path: Path) -> None:
    manifest, facts = imported(tmp_path, made(tmp_path, "k.txt", "Processing [x.sqlite]...\n\n" + TABLE))
    assert statuses(manifest) == {"nsys": ("completed", 0)}
    nsys = the(NsysCapture, facts)
    assert nsys.reports == ()
    first, second = nsys.kernels
    assert (first.name, first.instances, first.total_ns, first.median_ns, first.std_ns) == (
        "f<int, float>", 4, 120, 25.0, 21.6
    )  # fmt: skip
    assert (second.name, second.max_ns) == ("g", 40)
    assert (facts.path / "nsys" / "summary_cuda_gpu_kern_sum.csv").read_text().endswith(TABLE)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("1,2,3", "3 columns in place of 9"),
        ("a,b,c,d,e,f,g,h,name", "Time (%) is no number"),
        ("1,nan,1,1,1,1,1,1,x", "Total Time (ns) is no whole number"),
        ("1,inf,1,1,1,1,1,1,x", "Total Time (ns) is no whole number"),
        ("1,-4,1,4,4,4,4,0,x", "Total Time (ns) is no whole number"),
        ("1,4.5,1,4,4,4,4,0,x", "Total Time (ns) is no whole number"),
        ("1,4,1.5,4,4,4,4,0,x", "Instances is no whole number"),
        ("1,4,1,4_0,4,4,4,0,x", "Avg (ns) is no number"),
        ("1,4,1,nan,4,4,4,0,x", "Avg (ns) is no number"),
        ('1,"1,5",1,4,4,4,4,0,x', "Total Time (ns) is no whole number"),
        ('"1,5",4,1,4,4,4,4,0,x', "Time (%) is no number"),
        ("101,4,1,4,4,4,4,0,x", "more than all"),
        ("1,4,0,4,4,4,4,0,x", "without a name or launches"),
        ("1,4,1,4,4,4,4,0,", "without a name or launches"),
        ("1,400,2,4,4,4,4,0,x", "cannot be of the same launches"),
        ("1,8,2,4,9,4,4,0,x", "cannot be of the same launches"),
    ],
)
def test_a_broken_row_of_a_kernel_table_is_refused_by_line_and_column(row: str, what: str) -> None:
    with pytest.raises(StageError, match="line 2 of the kernel table") as raised:
        read_summary([TABLE.splitlines()[0] + "\n", row + "\n"])
    assert what in raised.value.message
    assert row.replace('"', "") in raised.value.message
    with pytest.raises(StageError, match="no table"):
        read_summary(["nothing\n"])


def test_environments_do_not_come_along(tmp_path: Path) -> None:
    source = export(tmp_path / "x.sqlite", [("f", 10)])
    with contextlib.closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("INSERT INTO StringIds VALUES (99, ?)", ("HOME=/\0HF_TOKEN=hf_secret\0",))
    imported(tmp_path, source)
    assert b"hf_secret" in source.read_bytes()
    assert b"hf_secret" not in (tmp_path / "the run" / "nsys" / "run.sqlite").read_bytes()


def test_a_raw_page(tmp_path: Path) -> None:
    manifest, facts = imported(tmp_path, made(tmp_path, "r", "==PROF== Connected to process 7\n" + RAW))
    assert statuses(manifest) == {"ncu": ("completed", 0)}
    ncu = the(NcuCapture, facts)
    assert ncu.facts is not None
    assert [process.pid for process in ncu.facts.processes] == [7]
    assert ncu.results[0].values == {"gpu__time_duration.sum": 12.0}


def test_a_details_page(tmp_path: Path) -> None:
    header = "ID,Process ID,Kernel Name,Section Name,Metric Name,Metric Unit,Metric Value,Rule Name,Rule Type,"
    header += "Rule Description,Estimated Speedup Type,Estimated Speedup\n"
    command, time = "Command line profiler metrics", "gpu__time_duration.sum"
    page = f"==PROF== Connected\n{header}0,7,f,{command},{time},us,12.5,\n1,7,g,{command},{time},ms,1,\n"
    page += "1,7,g,SpeedOfLight,,,,SOLBottleneck,OPT,typically indicate latency issues,global,40.5\n"
    manifest, facts = imported(tmp_path, made(tmp_path, "d", page))
    assert statuses(manifest) == {"ncu": ("completed", 0)}
    ncu = the(NcuCapture, facts)
    assert [result.values for result in ncu.results] == [{time: 12_500.0}, {time: 1e6}]
    assert [rule.speedup_pct for rule in ncu.results[1].rules] == [40.5]
    assert "SOLBottleneck" in (facts.path / "report.md").read_text()
    found = find_kernels([facts.path], is_read)
    assert found.problems == []
    assert [analyze_launch(launch).bound for launch in found.launches] == ["unknown", "latency_bound"]


def test_rules_of_an_imported_report_are_found_beside_its_raw_page(tmp_path: Path) -> None:
    rules = [rule("SOLBottleneck", "SpeedOfLight", encode((1, encode((1, "well said"), (2, 4)))))]
    path = made(tmp_path, "r.ncu-rep", report(block(kernels=[kernel("f()", {0: 1.5}, rules=rules)], strings=["a__b"])))
    _, facts = imported(tmp_path, path)
    (launch,) = find_kernels([facts.path], is_read).launches
    assert [item.message for item in launch.rules] == ["well said"]


def test_two_tables_of_other_columns_are_refused_with_the_line(tmp_path: Path) -> None:
    manifest, facts = imported(tmp_path, made(tmp_path, "r", RAW + RAW.replace("gpu__time_duration.sum", "sm__other")))
    assert statuses(manifest) == {"ncu": ("failed", 1)}
    assert "line 4 begins a second table" in (manifest.stages["ncu"].reason or "")
    assert facts.first(NcuCapture) is None


def test_a_file_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    good = export(tmp_path / "good.sqlite", [("f", 10)])
    cut = made(tmp_path, "cut.sqlite", good.read_bytes()[:5000])
    files = [
        made(tmp_path, "cut.json", json.dumps({"traceEvents": EVENTS})[:-9]),
        cut,
        good,
        made(tmp_path, "cut.ncu-rep", report(block(kernels=[kernel("f()", {})]))[:-1]),
    ]
    manifest, facts = imported(tmp_path, *files)
    assert manifest.exit_code == 1
    assert statuses(manifest) == dict.fromkeys(("torch_profiler", "nsys", "ncu"), ("failed", 1))
    for stage, name in (("torch_profiler", "cut.json"), ("nsys", "cut.sqlite"), ("ncu", "cut.ncu-rep")):
        assert name in (manifest.stages[stage].reason or "")
        assert manifest.stages[stage].remedy
    assert [file.problem is None for file in manifest.imported] == [False, False, True, False]
    # Of a damaged export it is not known that no environment is in it.
    assert [file.stored is None for file in manifest.imported] == [False, True, False, False]
    nsys = the(NsysCapture, facts)
    assert [item.name for item in nsys.reports] == ["good.sqlite"]
    assert facts.first(Profile) is None
    assert facts.first(NcuCapture) is None
    assert not (facts.path / "ncu" / "raw.csv").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"traceEvents": []}', "no operators and no kernels"),
        (RAW.splitlines()[0] + "\n", "it holds no result"),
        (TABLE.splitlines()[0] + "\n", "lists no kernel"),
        (report(block()), "it holds no result"),
    ],
)
def test_nothing_empty_passes_for_success(tmp_path: Path, content: str | bytes, reason: str) -> None:
    manifest, _ = imported(tmp_path, made(tmp_path, "empty", content))
    (entry,) = manifest.stages.values()
    assert (entry.status, manifest.exit_code) == ("failed", 1)
    assert reason in (entry.reason or "")


def test_an_export_without_work_of_a_gpu_says_so(tmp_path: Path) -> None:
    manifest, facts = imported(tmp_path, export(tmp_path / "x", [], ranges=3))
    assert statuses(manifest) == {"nsys": ("completed", 0)}
    assert "no kernel, graph or copy; for device time capture again" in (manifest.stages["nsys"].reason or "")
    capture = facts.first(NsysCapture)
    assert capture is not None  # what there is, is reported
    assert capture.reports[0].facts.nvtx_events == 3


def test_a_capture_and_its_replay_make_one_run(tmp_path: Path) -> None:
    launches = [Launch("gemm", 0, 0), Launch("norm", 0, 1), Launch("gemm", 0, 2)]
    capture, replay = capture_rows(launches, says_streams=True), replay_rows(launches)[0]
    traces = [made(tmp_path, name, json.dumps(trace_events(rows))) for name, rows in (("b", capture), ("a", replay))]
    plan = plan_import(traces[::-1], tmp_path, tmp_path / "run")
    facts = read_run(tmp_path / "run", import_files(plan, [], Quiet()).manifest)
    record = facts.first(DeviceTimeline)
    assert record is not None
    assert (record.source, record.graphs.kernels, record.graphs.joined) == ("a", 3, 3)
    stored = {item.stored: Path(item.source).name for item in read_manifest(facts.path).imported}
    assert stored == {"torch_profiler/trace.json.gz": "a", "torch_profiler/trace.capture.json.gz": "b"}
    other = [{**event, "pid": 7} if event["pid"] == 100 else event for event in trace_events(replay)]
    for files in ([traces[0], made(tmp_path, "c", json.dumps(other))], [*traces, made(tmp_path, "d", "[]")]):
        with pytest.raises(ConfigError, match=r"do not go into one run|none of the files"):
            plan_import(files, tmp_path, tmp_path / "again")


def test_a_trace_without_kernels_says_so(tmp_path: Path) -> None:
    manifest, facts = imported(tmp_path, made(tmp_path, "t", json.dumps([event("cpu_op", "a", 1, 2)])))
    (entry,) = manifest.stages.values()
    assert entry.status == "completed"
    assert "no kernels" in (entry.reason or "")
    assert the(Profile, facts).activities == ("cpu",)


# What is refused before anything is written


def refusal(tmp_path: Path, *files: Path, output: Path | None = None) -> LlmperfError:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ConfigError, MissingError)) as raised:
        plan_import(files, tmp_path / "runs", output)
    assert sorted(tmp_path.rglob("*")) == before
    error: Any = raised.value
    assert error.remedy
    assert isinstance(error, LlmperfError)
    return error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0\0\0\0", "none of the files"),
        ("model: demo\n", "none of the files"),
        ('{"a": 1}', "none of the files"),
        ("a,b\n1,2\n", "none of the files"),
        ('"ID","Kernel Name","Metric Name","Metric Value"\n', "none of the files"),
        (gzip.compress(b"hello", mtime=0), "none of the files"),
        (b"\x1f\x8b broken", "none of the files"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    error = refusal(tmp_path, made(tmp_path, "some.file", content))
    assert (error.exit_code, "some.file" in error.message) == (2, True)
    assert words in error.message


def test_an_sqlite_file_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "profile.sqlite")
    with connection:
        connection.execute("CREATE TABLE operators (name TEXT)")
    connection.close()
    assert "none of the files" in refusal(tmp_path, tmp_path / "profile.sqlite").message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert "is a directory" in refusal(tmp_path, tmp_path / "folder").message
    assert "no regular file" in refusal(tmp_path, tmp_path / "pipe").message
    missing = refusal(tmp_path, tmp_path / "missing")
    assert (missing.exit_code, "missing cannot be read" in missing.message) == (3, True)
    assert refusal(tmp_path, Path("a\0b")).exit_code == 3
    if os.geteuid():
        secret = made(tmp_path, "secret", RAW)
        secret.chmod(0)
        assert refusal(tmp_path, secret).exit_code == 3


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path, "r.csv", RAW)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert "named twice" in refusal(tmp_path, file, file).message
    assert "are the same file" in refusal(tmp_path, file, link).message


def test_what_cannot_be_added_up_is_refused(tmp_path: Path) -> None:
    raw, other = made(tmp_path, "r", RAW), made(tmp_path, "q", RAW)
    table, timeline = made(tmp_path, "t", TABLE), export(tmp_path / "x.sqlite", [("f", 1)])
    trace, again = made(tmp_path, "a", json.dumps(EVENTS)), made(tmp_path, "b", json.dumps(EVENTS))
    for pair in ((raw, other), (table, timeline), (trace, again)):
        error = refusal(tmp_path, *pair)
        assert (error.exit_code, "cannot be added up" in error.message) == (2, True)


def test_an_output_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path, "r", RAW)
    (tmp_path / "run").mkdir()
    made(tmp_path / "run", "run.json", "{}")
    assert "already holds a run" in refusal(tmp_path, file, output=tmp_path / "run").message


def test_an_imported_run_cannot_be_resumed(tmp_path: Path) -> None:
    _, facts = imported(tmp_path, made(tmp_path, "r", RAW))
    with pytest.raises(ConfigError, match="holds imported files"):
        plan_resumption(facts.path)


def test_an_import_that_is_killed_as_it_begins_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(tmp_path, "r", RAW)
    with monkeypatch.context() as patch:
        patch.setattr(execute, "run_stages", lambda *_, **__: sys.exit(-9))
        with pytest.raises(SystemExit):
            import_files(plan_import([file], tmp_path, tmp_path / "run"), ["llmperf", "import"], Quiet())
    again = execute.plan_resumption(tmp_path / "run")
    assert [item.source for group in again.groups.values() for item in group.items] == [file]


def test_links_are_followed_and_originals_left_alone(tmp_path: Path) -> None:
    file = made(tmp_path, "r.csv", RAW)
    link = tmp_path / "link"
    link.symlink_to(file)
    manifest, facts = imported(tmp_path, link)
    copy = facts.path / "ncu" / "raw.csv"
    assert (copy.is_symlink(), copy.read_text(), file.read_text()) == (False, RAW, RAW)
    assert manifest.imported[0].source == str(link)


def test_a_copy_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = made(tmp_path, "source", b"x" * 100)

    def full(self: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(StageError, match="No space left on device"):
            copy_file(source, tmp_path / "folder" / "copy")
    assert list((tmp_path / "folder").iterdir()) == []
    assert copy_file(source, tmp_path / "c") == hashlib.sha256(b"x" * 100).hexdigest()
    assert (tmp_path / "c").read_bytes() == b"x" * 100


@pytest.mark.real_data
def test_a_console_page_of_metrics(shared_data: Path, tmp_path: Path) -> None:
    """The same kernels and times from the imported run as from the file itself."""
    path = shared_data.parent / "cases" / "ncu" / "ncu-console-metrics.csv"
    manifest, facts = imported(tmp_path, path)
    assert statuses(manifest) == {"ncu": ("completed", 0)}
    ncu = the(NcuCapture, facts)
    times = [211_940.0, 203_020.0, 1_205_000.0]
    assert [result.values["gpu__time_duration.sum"] for result in ncu.results] == pytest.approx(times)
    for source in (path, facts.path):
        found = find_kernels([source], is_read)
        assert [(item.kernel, item.grid) for item in found.launches] == [("saxpy", "(16384, 1, 1)")] * 3
        assert [item.metrics["gpu__time_duration.sum"] for item in found.launches] == pytest.approx(times)


KINDS = {
    "nsys/h100-2gpu-nsys2026.2.sqlite": "nsys_sqlite",
    "nsys/rtx5060ti-no-kernels-nsys2025.1.sqlite": "nsys_sqlite",
    "nsys/rtx4060-nsys2025.5.nsys-rep": "nsys_report",
    "nsys/dsocr-rtx5090-decode-cuda_gpu_kern_sum.csv": "nsys_kernel_table",
    "ncu/rtx3070-ncu2020.3.ncu-rep": "ncu_report",
    "ncu/gtx1660ti-ncu2022.4.ncu-rep": "ncu_report",
    "torch/mi250-minitoy.json.gz": "torch_trace",
    "torch/h100-qwen1.5-0.5b.json.gz": "torch_trace",
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", KINDS)
def test_recorded_files_are_recognised(shared_data: Path, name: str) -> None:
    assert recognise(shared_data / name)[0] == KINDS[name]


@pytest.mark.real_data
def test_a_recorded_kernel_table(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "nsys" / "dsocr-rtx5090-prefill-cuda_gpu_kern_sum.csv"
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    with path.open(encoding="utf-8") as lines:
        kernels = read_summary(lines)
    assert [(row.name, row.total_ns) for row in kernels] == [(row["Name"], int(row["Total Time (ns)"])) for row in rows]
    assert sum(row.instances for row in kernels) == sum(int(row["Instances"]) for row in rows)


def test_reading_a_trace_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_perf_opt.importing.importers.torch_trace.SAID_EVERY_S", 0.0)
    said: list[str] = []
    monkeypatch.setattr(Quiet, "update", lambda _self, phase, *_: said.append(phase))
    text = json.dumps({"traceEvents": EVENTS}).encode()
    (tmp_path / "trace.json.gz").write_bytes(gzip.compress(text))
    plan = plan_import([tmp_path / "trace.json.gz"], tmp_path, tmp_path / "run")
    assert import_files(plan, ["llmperf"], Quiet()).manifest.status == "completed"
    assert {"reading trace.json.gz: 100 %", "copying trace.json.gz: 100 %"} <= set(said)
