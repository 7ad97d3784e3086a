"""However a run ends, its manifest, its digests and its exit code tell the truth, and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.records.manifest import Manifest
from tests import odd_stages
from tests.cli_process import LLMPERF, environment, llmperf, read_json
from tests.unit.importing.test_import import RAW, made
from tests.warm.fixtures import using

pytestmark = pytest.mark.integration

QUICK = ["measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=2", "dataset.sampling.num_samples_per_epoch=1"]
STATIC = ["run", "--no-torch"]


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Any]:
    """Environment with stages that misbehave."""
    path = [odd_stages.install(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}


def checked(run: Path) -> Manifest:
    """The manifest, whose digests are those of all files that are there, and of no other."""
    manifest = Manifest.model_validate_json((run / "run.json").read_bytes())
    files = {file.relative_to(run).as_posix(): file for file in run.rglob("*") if file.is_file()}
    found = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    assert manifest.artifacts == {name: sha for name, sha in found.items() if name not in ("run.json", "llmperf.log")}
    return manifest


def start(arguments: list[str], folder: Path, **options: Any) -> subprocess.Popen[str]:
    given = {"env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([LLMPERF, *arguments], cwd=folder, text=True, start_new_session=True, **given)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def statuses(manifest: Manifest) -> dict[str, str]:
    return {name: entry.status for name, entry in manifest.stages.items()}


# A place of its own


def test_runs_that_start_together_get_a_directory_each(tmp_path: Path) -> None:
    made(tmp_path, "raw.csv", RAW)
    processes = [start(["import", "raw.csv"], tmp_path) for _ in range(8)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    said = [stdout.splitlines()[-2].removeprefix("run directory: ") for stdout, _ in outputs]
    runs = sorted((tmp_path / "tmp" / "profile-output").iterdir())
    assert sorted(tmp_path / path for path in said) == runs
    assert len(runs) == 8
    for run in runs:
        assert checked(run).status == "completed"


@pytest.mark.parametrize("command", [["import", "raw.csv"], STATIC])
def test_of_two_with_one_output_one_wins(tmp_path: Path, command: list[str]) -> None:
    made(tmp_path, "raw.csv", RAW)
    (tmp_path / "out").mkdir()
    processes = [start([*command, "--output", "out"], tmp_path) for _ in range(3)]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2, 2], errors
    assert sum("already holds a run" in error for error in errors) == 2
    assert checked(tmp_path / "out").status == "completed"


# Stages that misbehave


def test_a_stage_that_exits_or_says_nothing_is_that_stage_failed(tmp_path: Path, odd: dict[str, Any]) -> None:
    arguments = odd_stages.only("exiting", "nothing", "generator", "unprintable", "fine")
    finished = llmperf([*arguments, "--output", "run"], tmp_path, **odd)
    assert (finished.returncode, "Traceback" in finished.stderr) == (1, False)
    manifest = checked(tmp_path / "run")
    assert (manifest.status, manifest.exit_code) == ("failed", 1)
    assert statuses(manifest) == {
        **dict.fromkeys(("exiting", "nothing", "generator", "unprintable"), "failed"),
        "fine": "completed",
    }
    reasons = {name: entry.reason or "" for name, entry in manifest.stages.items()}
    assert "SystemExit(0)" in reasons["exiting"]
    assert "returned None, which is no Outcome" in reasons["nothing"]
    assert reasons["generator"] == "GeneratorExit: early"
    assert (tmp_path / "run" / "llmperf.log").read_text().count("Traceback") == 3
    assert "returned None" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize("stage", ["removing", "rebuilding"])
def test_a_run_directory_that_is_removed_is_not_made_again(tmp_path: Path, odd: dict[str, Any], stage: str) -> None:
    run = tmp_path / "run"
    finished = llmperf([*odd_stages.only("fine", stage, "nothing"), "--output", "run"], tmp_path, **odd)
    assert (finished.returncode, "Traceback" in finished.stderr) == (1, False)
    assert "was removed or moved while the run was going on" in finished.stderr
    if stage == "removing":
        assert not run.exists()
        return
    manifest = checked(run)
    assert (manifest.status, manifest.exit_code) == ("failed", 1)
    assert statuses(manifest) == {"fine": "failed", "rebuilding": "failed", "nothing": "pending"}


def fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def test_a_full_disk_is_said_in_the_manifest(tmp_path: Path, odd: dict[str, Any]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        finished = llmperf([*odd_stages.only("fine", "filling", "nothing"), "--output", "disk/run"], tmp_path, **odd)
        assert (finished.returncode, "Traceback" in finished.stderr) == (1, False)
        manifest = checked(disk / "run")
        assert (manifest.status, manifest.exit_code) == ("failed", 1)
        assert statuses(manifest) == {"fine": "completed", "filling": "completed", "nothing": "failed"}
        assert len([problem for problem in manifest.problems if "No space left" in problem]) == 3
        fill(disk / "filler")
        refused = llmperf([*odd_stages.only("fine"), "--output", "disk/second"], tmp_path, **odd)
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert "No space left" in refused.stderr
        assert not (disk / "second").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_report_that_cannot_be_written_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    finished = llmperf([*STATIC, "--output", "run"], tmp_path)
    assert finished.returncode == 1
    assert "error: report.html could not be written" in finished.stderr
    manifest = checked(tmp_path / "run")
    assert (manifest.status, manifest.exit_code, statuses(manifest)) == ("failed", 1, {"static_analysis": "completed"})
    assert "report.html could not be written" in manifest.problems[0]
    assert {"report.md", "summary.json"} <= set(manifest.artifacts)
    assert llmperf(["report", "run"], tmp_path).returncode == 1


# Interrupts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_a_scheduler_sends_is_an_interrupt(tmp_path: Path, odd: dict[str, Any], number: signal.Signals) -> None:
    run = tmp_path / "run"
    arguments = [*odd_stages.only("fine", "waiting", "nothing"), "--output", "run"]
    process = start(arguments, tmp_path, env=environment(**odd))
    begun = run / "tmp" / "workload" / "waiting" / "begun"
    wait_for(begun.exists, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    manifest = checked_but_temporary(run)
    assert (manifest.status, manifest.exit_code) == ("interrupted", 130)
    assert statuses(manifest) == {"fine": "completed", "waiting": "interrupted", "nothing": "pending"}
    assert "| waiting | interrupted |" in (run / "report.md").read_text()
    if Path("/proc/self").exists():
        lines = [file for file in Path("/proc").glob("[0-9]*/cmdline") if str(begun).encode() in read_or_nothing(file)]
        assert not lines


def read_or_nothing(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def checked_but_temporary(run: Path) -> Manifest:
    """As `checked`; what the stage had half-written is there and has no digest."""
    half = run / "tmp" / "workload" / "waiting" / ".half.json.0a1b2c3d"
    content = half.read_text()
    half.unlink()
    manifest = checked(run)
    half.write_text(content)
    return manifest


def test_a_killed_run_is_resumed(tmp_path: Path, odd: dict[str, Any]) -> None:
    run = tmp_path / "run"
    process = start([*odd_stages.only("fine", "waiting"), "--output", "run"], tmp_path, env=environment(**odd))
    wait_for((run / "tmp" / "workload" / "waiting" / "begun").exists, process)
    for command in (["run", "--resume", "run"], ["report", "run"]):
        meanwhile = llmperf(command, tmp_path, **odd)
        assert (meanwhile.returncode, "another process is writing" in meanwhile.stderr) == (2, True)
    process.kill()
    process.communicate()
    killed = Manifest.model_validate_json((run / "run.json").read_bytes())
    assert (killed.status, statuses(killed)) == ("running", {"fine": "completed", "waiting": "running"})
    assert {"fine/fine.json", "config.yaml", "env.json", "inputs.yaml"} <= set(killed.artifacts)
    before = (run / "fine" / "fine.json").stat().st_mtime_ns
    again = llmperf(["run", "--resume", "run"], tmp_path, **odd, ODD_STAGES_GO_ON="1")
    assert again.returncode == 0, again.stderr
    assert checked(run).status == "completed"
    assert (run / "fine" / "fine.json").stat().st_mtime_ns == before, "what is completed is not done again"
    assert not list(run.rglob(".*")), "what was half-written is removed"
    assert ".half.json.0a1b2c3d" in (run / "llmperf.log").read_text()


# Readers that go away


def closed_at_once(descriptor: str, folder: Path) -> subprocess.Popen[str]:
    """A run, the reading end of one of its outputs closed."""
    read_end, write_end = os.pipe()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, descriptor: write_end}
    process = start([*STATIC, "--output", "run"], folder, **streams)
    os.close(write_end)
    os.close(read_end)
    return process


@pytest.mark.parametrize("descriptor", ["stdout", "stderr"])
def test_a_reader_that_goes_away_ends_no_run(tmp_path: Path, descriptor: str) -> None:
    assert closed_at_once(descriptor, tmp_path).wait(120) == 0
    assert checked(tmp_path / "run").status == "completed"


def test_streams_that_are_not_there(tmp_path: Path) -> None:
    command = f"exec {LLMPERF} run --no-torch --output run <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment(), check=False).returncode == 0
    assert checked(tmp_path / "run").status == "completed"


@pytest.mark.usefixtures("warm_child")
def test_a_terminal_that_is_hung_up(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = environment()
    del env["NO_COLOR"]
    arguments = ["infer", *QUICK, "--output", "run"]
    process = start(arguments, tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    assert process.wait(120) == 0
    assert checked(tmp_path / "run").status == "completed"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["config", "show"], 0), (["compare", "nothing", "nothing"], 3), (["nonsense"], 2), (["--help"], 0)],
    ids=str,
)
def test_exit_codes_do_not_depend_on_the_reader(tmp_path: Path, arguments: list[str], exit_code: int) -> None:
    command = f"{LLMPERF} {' '.join(arguments)} 2>&1 >&- | true; echo ${{PIPESTATUS[0]}}"
    finished = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert (finished.stdout, finished.stderr) == (f"{exit_code}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_do_not_fit_are_exit_1(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(["config", "show"], tmp_path, stdout=full)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "standard output could not be written: No space left" in stderr
        assert start([*STATIC, "--output", "run"], tmp_path, stderr=full).wait(120) == 0


# Digests


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, warm_servers: Path | None) -> Path:
    """A run under a strict umask, with a child."""
    folder = tmp_path_factory.mktemp("measured")
    arguments = ["run", *QUICK, "pipeline.torch_profiler.warmup_rounds=0", "--output", "run"]
    predictions = "pipeline.torch_profiler.output.prediction.enable=true"
    command = [LLMPERF, *arguments, predictions]
    with using(warm_servers):
        subprocess.run(command, cwd=folder, env=environment(), umask=0o077, check=True, capture_output=True)
    return folder / "run"


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    target = tmp_path / "run"
    subprocess.run(["cp", "-a", str(measured), str(target)], check=True)
    return target


def test_files_follow_the_umask(measured: Path) -> None:
    checked(measured)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (measured, *measured.rglob("*"))}
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def change(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


RECORDS = ["torch_profiler/workload.json", "torch_profiler/profile.sqlite", "env.json", "config.yaml"]


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("spoil", [change, Path.unlink])
def test_a_record_that_is_not_what_it_was_is_not_used(run: Path, record: str, spoil: Callable[[Path], None]) -> None:
    manifest = (run / "run.json").read_bytes()
    report = (run / "report.md").stat().st_mtime_ns
    spoil(run / record)
    word = f"{record} {'has changed' if spoil is change else 'is missing'}"
    for command in (["report", "run"], ["compare", "run", "run"], ["compare", "run", "run", "--json"]):
        finished = llmperf(command, run.parent)
        assert (finished.returncode, finished.stdout) == (3, "")
        assert word in finished.stderr
        assert "llmperf run --resume" in finished.stderr
    assert (run / "run.json").read_bytes() == manifest
    assert (run / "report.md").stat().st_mtime_ns == report


@pytest.mark.usefixtures("warm_command")
def test_report_signs_what_it_wrote_and_nothing_else(run: Path) -> None:
    recorded = read_json(run / "run.json")["artifacts"]
    change(run / "report.md")
    (run / "torch_profiler" / "operators.md").unlink()
    change(run / "torch_profiler" / "trace.json.gz")
    (run / "torch_profiler" / "viz" / "predictions.md").unlink()
    (run / "mine.txt").write_text("a note")
    (run / ".report.md.0a1b2c3d").write_text("half")
    finished = llmperf(["report", "run"], run.parent)
    assert finished.returncode == 0, finished.stderr
    assert "torch_profiler/viz/predictions.md is missing" in finished.stderr
    signed = read_json(run / "run.json")["artifacts"]
    for name in ("report.md", "report.html", "summary.json", "torch_profiler/operators.md"):
        assert signed.pop(name) == hashlib.sha256((run / name).read_bytes()).hexdigest()
        del recorded[name]
    assert signed == recorded, "what report did not write keeps its digest, and what was added has none"
    assert not (run / ".report.md.0a1b2c3d").exists()


@pytest.mark.usefixtures("warm_command")
def test_resume_makes_again_what_is_not_what_it_was(run: Path) -> None:
    before = (run / "torch_profiler" / "workload.json").read_bytes()
    change(run / "static_analysis" / "static_compute.json")
    (run / "env.json").unlink()
    (run / "report.md").unlink()
    plan = llmperf(["run", "--resume", "run", "--dry-run"], run.parent)
    assert "made again: static_analysis/static_compute.json has changed" in plan.stdout
    assert "torch_profiler:" not in plan.stdout
    finished = llmperf(["run", "--resume", "run"], run.parent)
    assert finished.returncode == 0, finished.stderr
    assert "static_analysis/static_compute.json has changed: made again" in finished.stderr
    assert "env.json is missing: made again" in finished.stderr
    assert checked(run).status == "completed"
    assert (run / "torch_profiler" / "workload.json").read_bytes() == before
    assert llmperf(["report", "run"], run.parent).returncode == 0


@pytest.mark.usefixtures("warm_command")
def test_resume_does_not_use_a_configuration_that_was_changed(run: Path) -> None:
    change(run / "config.yaml")
    finished = llmperf(["run", "--resume", "run"], run.parent)
    assert (finished.returncode, "it has changed" in finished.stderr) == (3, True)
