"""`llmperf import` as a user meets it."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.importing import parallel
from llm_perf_opt.importing.parallel import each
from tests.cli_process import llmperf, read_json
from tests.unit.importing.test_import import RAW, TABLE, export, made
from tests.unit.importing.test_nsys_nodes import node
from tests.unit.importing.test_ranks import trace
from tests.unit.timeline.example import EVENTS

NSYS = """#!{python}
import shutil, sys
if "--version" in sys.argv:
    print("NVIDIA Nsight Systems version {version}.1-0")
elif "broken" in open(sys.argv[-1]).read():
    print("Failed to load the report")
    sys.exit(1)
else:
    assert sys.argv[1:4] == ["export", "--type", "sqlite"], sys.argv
    shutil.copy({export!r}, sys.argv[sys.argv.index("-o") + 1])
"""


@pytest.fixture
def nsys(tmp_path: Path) -> Path:
    """A program that exports every report to the same SQLite file, unless it says that it is broken."""
    sqlite = export(tmp_path / "prepared", [("f", 10), ("g", 5)])
    path = made(tmp_path, "nsys", NSYS.format(python=sys.executable, version="2026.1", export=str(sqlite)))
    path.chmod(0o755)
    return path


def test_import_then_report(tmp_path: Path) -> None:
    files = [
        made(tmp_path, "trace of me.json", json.dumps(EVENTS)).name,
        export(tmp_path / "x.sqlite", [("f", 10)]).name,
        made(tmp_path, "raw.csv", RAW).name,
    ]
    finished = llmperf(["import", *files, "--output", "out"], tmp_path)
    assert (finished.returncode, finished.stdout.splitlines()[-2:]) == (
        0,
        ["run directory: out", "page: out/report.html"],
    )
    assert f"nsys/run.sqlite: {tmp_path / 'x.sqlite'}" in finished.stdout
    assert "torch_profiler: completed" in finished.stderr
    pages = {name: (tmp_path / "out" / name).read_bytes() for name in ("report.md", "report.html", "summary.json")}
    assert llmperf(["report", "out"], tmp_path).returncode == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in pages} == pages
    again = llmperf(["import", *files, "--output", "out"], tmp_path)
    assert (again.returncode, "already holds a run" in again.stderr) == (2, True)
    resumed = llmperf(["run", "--resume", "out"], tmp_path)
    assert (resumed.returncode, "holds imported files" in resumed.stderr) == (2, True)


@pytest.mark.usefixtures("warm_command")
def test_json_and_quiet(tmp_path: Path) -> None:
    made(tmp_path, "t", TABLE)
    finished = llmperf(["-q", "import", "t", "--json"], tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    found = json.loads(finished.stdout)
    assert found["exit_code"] == 0
    assert found["experiment"] is None
    assert found["stages"]["nsys"]["status"] == "completed"
    assert found["imported"][0]["stored"] == "nsys/summary_cuda_gpu_kern_sum.csv"
    assert Path(found["run"]).parent == tmp_path / "tmp" / "profile-output"
    assert read_json(Path(found["run"]) / "run.json")["imported"] == found["imported"]


@pytest.mark.usefixtures("warm_command")
def test_a_report_is_exported_by_an_installed_nsys(tmp_path: Path, nsys: Path) -> None:
    made(tmp_path, "a", b"NVIDIA Tegra Profiler Report 2026@1")
    finished = llmperf(["import", "a", "--output", "out"], tmp_path, LLMPERF_NSYS=str(nsys))
    assert finished.returncode == 0, finished.stderr
    kernels = read_json(tmp_path / "out" / "nsys" / "facts.json")["kernels"]
    assert [row["name"] for row in kernels] == ["f", "g"]
    made(tmp_path, "b", b"NVIDIA Tegra Profiler Report 2026@1, broken")
    finished = llmperf(["import", "a", "b", "--output", "two"], tmp_path, LLMPERF_NSYS=str(nsys))
    assert finished.returncode == 1
    assert "could not export b: it " in finished.stderr
    assert (tmp_path / "two" / "nsys" / "run.1.sqlite").is_file()
    assert "Failed to load" in (tmp_path / "two" / "tmp" / "workload" / "nsys" / "export.2.log").read_text()


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing"], 3, "missing cannot be read"),
        (["empty"], 2, "empty is a directory without a file that can be imported"),
        (["notes.txt"], 2, "notes.txt is none of the files"),
        (["raw.csv", "raw.csv"], 2, "raw.csv is named twice"),
        ([], 2, "missing argument"),
        (["raw.csv", "--output", "notes.txt"], 2, "notes.txt is a file"),
        (["cut.json"], 1, "cut.json cannot be read as a trace"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    made(tmp_path, "raw.csv", RAW)
    made(tmp_path, "notes.txt", "hello")
    (tmp_path / "empty").mkdir()
    made(tmp_path, "cut.json", json.dumps(EVENTS)[:-1])
    finished = llmperf(["import", *arguments], tmp_path)
    assert finished.returncode == code
    assert words in finished.stderr
    assert "remedy:" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_ranks_are_read_in_processes_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for rank in range(3):
        text = trace(rank, 3, late_us=300 * (rank == 2))
        made(folder, f"r{rank}.json", text if rank != 1 else text[:-30])
    finished = llmperf(["import", "traces", "--output", "out", "--jobs", "2", "--json"], tmp_path)
    assert finished.returncode == 1
    assert "r1.json cannot be read as a trace" in finished.stderr
    assert "Traceback" not in finished.stderr
    timeline = json.loads(finished.stdout)["timeline"]
    assert [(row["rank"], row["late_ns"]) for row in timeline["ranks"]] == [(0, 0), (2, 300_000)]
    assert timeline["rank_comparison"]["straggler"] == 2
    made(folder, "r1.json", trace(1, 3))
    (folder / "r0.json").unlink()
    finished = llmperf(["import", "--resume", "out", "--json"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [row["rank"] for row in json.loads(finished.stdout)["timeline"]["ranks"]] == [0, 1, 2]
    refused = llmperf(["import", "traces", "--resume", "out"], tmp_path)
    assert (refused.returncode, "--resume takes its files from the run" in refused.stderr) == (2, True)


def test_reports_of_nodes_are_read_in_processes_of_their_own(tmp_path: Path) -> None:
    files = [node(tmp_path, rank) for rank in range(3)]
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:5000])
    names = [file.name for file in files]
    finished = llmperf(["import", *names, "--output", "out", "--jobs", "2", "--json"], tmp_path)
    assert (finished.returncode, "rank1.sqlite" in finished.stderr) == (1, True)
    assert "Traceback" not in finished.stderr
    assert [row["rank"] for row in json.loads(finished.stdout)["timeline"]["ranks"]] == [0, 2]
    files[1].write_bytes(whole)
    files[0].unlink()
    finished = llmperf(["import", "--resume", "out", "--json"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [row["rank"] for row in json.loads(finished.stdout)["timeline"]["ranks"]] == [0, 1, 2]


def _doubled(number: int) -> int:
    if number == 3:
        os._exit(9)
    return 2 * number


def test_no_process_is_left_when_the_pool_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle one holds a lock that the others need to hear of the end: killed then, all would wait for ever."""
    closed = []

    class Watched(ProcessPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            deadline = time.monotonic() + 10
            while multiprocessing.active_children() and time.monotonic() < deadline:
                time.sleep(0.01)
            closed.append(multiprocessing.active_children())
            super().shutdown(wait, cancel_futures=cancel_futures)

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Watched)
    assert dict(each(_doubled, [1, 2], workers=2)) == {0: 2, 1: 4}
    assert closed == [[]]


def test_a_process_that_is_ended_costs_its_own_file_alone() -> None:
    found = dict(each(_doubled, [1, 2, 3, 4], workers=2))
    assert {position: value for position, value in found.items() if position != 2} == {0: 2, 1: 4, 3: 8}
    assert isinstance(found[2], StageError)
    assert "ended from outside" in found[2].message


@pytest.mark.real_data
def test_recorded_files_of_three_tools_make_one_run(shared_data: Path, tmp_path: Path) -> None:
    names = ["nsys/h100-2gpu-nsys2026.2.sqlite", "ncu/gtx1660ti-ncu2022.4.ncu-rep", "torch/b200-eager-vllm.json.gz"]
    finished = llmperf(["import", *(str(shared_data / name) for name in names), "--output", "out", "--json"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["nsys"]["reports"][0]["facts"]["kernels"] == 3442
    assert found["ncu"]["facts"]["results"] == 4
    assert [said["rule"] for said in found["advice"]] == ["exposed-copies", "host-bound", "exposed-communication"]
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## What would help\n\n- Copying is not hidden" in page
    assert "vllm::moe_forward" in page
    assert "mathKernel3" in page
