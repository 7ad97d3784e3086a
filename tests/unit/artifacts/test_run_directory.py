"""A run directory is one run's, its manifest is right whatever the disk and the clock do, and its files are whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_perf_opt.artifacts import claim, files, run_directory
from llm_perf_opt.artifacts.claim import claim_run
from llm_perf_opt.artifacts.digests import Damage, Digests, is_record, is_report, refuse_damaged
from llm_perf_opt.artifacts.files import clear_temporary, copy_file, is_temporary, write_text, write_text_in
from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest, renewing_reports
from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.run import plan_run


def new(path: Path, *stages: str) -> RunDirectory:
    return RunDirectory.create(path, argv=["llmperf", "run"], stages=stages)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("numbered", [True, False])
def test_of_many_that_claim_one_name_each_gets_its_own_or_one_wins(tmp_path: Path, numbered: bool) -> None:
    def claimed_by(number: int) -> Path | None:
        try:
            return claim_run(tmp_path / "run", str(number), numbered=numbered)
        except ConfigError:
            return None

    with ThreadPoolExecutor(32) as pool:
        claimed = dict(enumerate(pool.map(claimed_by, range(64))))
    won = {number: path for number, path in claimed.items() if path is not None}
    assert len(won) == len(set(won.values())) == (64 if numbered else 1)
    assert all((path / "run.json").read_text() == str(number) for number, path in won.items())


def test_a_place_that_is_taken_before_the_run_begins_is_refused_only_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(tmp_path / "taken")
    monkeypatch.setattr(claim, "new_path", lambda runs_dir, run_id: runs_dir / (run_id or "taken"))
    assert claim.place_of(None, tmp_path, None) == (tmp_path / "taken", True)
    assert plan_run(load_config(None, [f"artifacts.runs_dir={tmp_path}"]).config, None).numbered
    for output, run_id in ((tmp_path / "taken", None), (None, "taken")):
        with pytest.raises(ConfigError, match="already holds a run"):
            claim.place_of(output, tmp_path, run_id)


def test_a_place_that_cannot_be_written_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StageError, match="No space left"):
        new(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_keeps_room_for_the_last_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = new(tmp_path / "run", "a")

    def write(folder: int, path: Path, text: str) -> None:
        if any(directory.path.glob(".run.json.*")):
            raise StageError(f"cannot write {path}: No space left on device")
        write_text_in(folder, path, text)

    monkeypatch.setattr(run_directory, "write_text_in", write)
    directory.begin("a")
    directory.end("a", Outcome.completed())
    assert read_manifest(directory.path).stages["a"].status == "pending"
    directory.close()
    manifest = read_manifest(directory.path)
    assert (manifest.status, manifest.exit_code, manifest.stages["a"].status) == ("completed", 0, "completed")


def test_a_manifest_that_cannot_be_written_is_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = new(tmp_path / "run")

    def write(folder: int, path: Path, text: str) -> None:
        raise StageError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(run_directory, "write_text_in", write)
    directory.problem("long enough for more blocks than the file has" * 10_000, 0)
    directory.close()
    assert (directory.manifest.status, directory.manifest.exit_code) == ("failed", 1)
    assert "run.json: No space left" in directory.manifest.problems[1]
    assert read_manifest(directory.path).status == "running"


def test_a_disk_without_room_for_a_second_manifest_takes_the_last_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = new(tmp_path / "run", "a")

    def write(folder: int, path: Path, text: str) -> None:
        raise StageError(f"cannot write {path}: No space left on device")

    directory.problem("so long that the last manifest is shorter" * 20, 0)
    directory.begin("a")
    monkeypatch.setattr(run_directory, "write_text_in", write)
    directory.manifest = directory.manifest.model_copy(update={"problems": ()})
    directory.end("a", Outcome.failed("full"))
    assert read_manifest(directory.path).stages["a"].status == "running"
    directory.close()
    manifest = read_manifest(directory.path)
    assert (manifest.status, manifest.exit_code, manifest.stages["a"].reason) == ("failed", 1, "full")


def test_times_that_go_backwards_are_kept_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2026-01-01T00:00:{second:02}.000Z" for second in (10, 10, 11, 11, 11, 12, 5, *range(6, 60)))
    monkeypatch.setattr(run_directory, "now", lambda: next(times))
    directory = new(tmp_path / "run", "a")
    directory.begin("a")
    directory.end("a", Outcome.completed())
    directory.close()
    manifest = read_manifest(directory.path)
    entry = manifest.stages["a"]
    assert entry.started is not None
    assert entry.ended is not None
    assert manifest.ended is not None
    backwards = [entry.started > entry.ended, entry.ended > manifest.ended, manifest.created > entry.started]
    assert sum(backwards) == 1
    assert (directory.path / "llmperf.log").read_text().count("the clock was set back") == 1


def test_a_directory_that_was_moved_keeps_the_truth_and_is_not_made_again(tmp_path: Path) -> None:
    directory = new(tmp_path / "run", "a")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    directory.begin("a")
    assert not (tmp_path / "run").exists()
    directory.end("a", Outcome.completed())
    directory.close()
    manifest = read_manifest(tmp_path / "elsewhere")
    assert (manifest.status, manifest.exit_code, manifest.stages["a"].status) == ("failed", 1, "failed")
    assert not (tmp_path / "run").exists()


def test_a_directory_that_another_run_has_by_now_is_left_alone(tmp_path: Path) -> None:
    first = new(tmp_path / "run", "a")
    first.begin("a")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    second = new(tmp_path / "run", "b")
    first.end("a", Outcome.completed())
    first.close()
    assert (first.manifest.exit_code, first.manifest.stages["a"].status) == (1, "failed")
    assert set(read_manifest(second.path).stages) == {"b"}
    second.close()
    assert read_manifest(second.path).status == "completed"


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    directory = new(tmp_path / "run", "a")
    with pytest.raises(ConfigError, match="another process"):
        RunDirectory.reopen(directory.path, again=["a"])
    with pytest.raises(ConfigError, match="another process"), renewing_reports(directory.path):
        pass
    directory.close()
    RunDirectory.reopen(directory.path, again=["a"]).close()


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_files_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        directory = new(tmp_path / "run", "a")
        write_text(directory.path / "a" / "text", "x")
        copy_file(directory.path / "a" / "text", directory.path / "copy")
        directory.close()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.path.rglob("*")}
    assert modes == {**dict.fromkeys(("run.json", "llmperf.log", "text", "copy"), mode), "a": 0o777 & ~mask}


def test_what_is_half_written_has_no_digest_and_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    (tmp_path / ".profile.sqlite.0a1b2c3d-journal").touch()
    (tmp_path / ".trace.json.gz.a_b1c2d3").mkdir()
    (tmp_path / ".trace.json.gz.a_b1c2d3" / "trace.json").touch()
    write_text(tmp_path / "kept", "x")
    (tmp_path / ".gitignore").touch()
    monkeypatch.setattr(files, "temporary_name", lambda name: f".{name}.{'0' * 8}")
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(SystemExit), files.replacing(tmp_path / "half"):
        killed()
    monkeypatch.undo()
    assert set(Digests(tmp_path).all()[0]) == {"kept", ".gitignore"}
    assert clear_temporary(tmp_path) == [
        ".half.00000000",
        ".profile.sqlite.0a1b2c3d-journal",
        ".trace.json.gz.a_b1c2d3",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"kept", ".gitignore"}
    assert is_temporary(files.temporary_name("run.json"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StageError, match="full"):
        write_text(tmp_path / "file", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_a_reason_that_no_json_holds_is_spelt_out(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", argv=["llmperf", "caf\udce9"], stages=["a"])
    directory.begin("a")
    directory.end("a", Outcome.failed("caf\udce9 cannot be read"))
    directory.close()
    manifest = read_manifest(directory.path)
    assert manifest == directory.manifest
    assert (manifest.argv[1], manifest.stages["a"].reason) == ("caf\\udce9", "caf\\udce9 cannot be read")


def test_a_file_that_has_no_name_in_json_is_said(tmp_path: Path) -> None:
    directory = new(tmp_path / "run")
    with open(os.fsencode(directory.path) + b"/caf\xe9", "wb"):  # noqa: PTH123 - a name that is no text
        pass
    directory.close()
    manifest = read_manifest(directory.path)
    assert (manifest.exit_code, manifest.artifacts) == (0, {})
    assert "caf\\xe9 has no digest" in manifest.problems[0]


@pytest.mark.parametrize("exit_code", [0, 1, 3, 2, 77, -1])
def test_a_failed_stage_never_passes_for_success(tmp_path: Path, exit_code: int) -> None:
    directory = new(tmp_path / "run", "a")
    directory.begin("a")
    directory.end("a", Outcome(status="failed", exit_code=exit_code))
    directory.close()
    assert directory.manifest.exit_code == (exit_code if exit_code in (1, 2, 3) else 1)
    assert directory.manifest.status == "failed"


def test_damage_is_named(tmp_path: Path) -> None:
    directory = new(tmp_path / "run", "a")
    for name in ("a/kept.json", "a/changed.json", "a/gone.json", "a/picture.png", "report.md"):
        write_text(directory.path / name, name)
    directory.close()
    manifest = read_manifest(directory.path)
    assert refuse_damaged(directory.path, manifest) == []
    (directory.path / "report.md").unlink()
    (directory.path / "a" / "picture.png").unlink()
    assert refuse_damaged(directory.path, manifest) == [Damage("a/picture.png", "is missing")]
    (directory.path / "a" / "gone.json").unlink()
    write_text(directory.path / "a" / "changed.json", "other")
    with pytest.raises(MissingError, match=r"a/changed.json has changed; a/gone.json is missing"):
        refuse_damaged(directory.path, manifest)


def test_which_files_are_records_and_which_are_reports() -> None:
    records = ["config.yaml", "a/workload.json", "ncu/regions/x/report.json", "torch_profiler/profile.sqlite"]
    reports = ["report.md", "summary.json", "a/metrics.json", "ncu/regions/x/report.md"]
    others = ["tmp/workload/a/order.json", "tmp/report.md", "nsys/run.sqlite", "a/trace.json.gz", "a/viz/x.jpg"]
    for name in (*records, *reports, *others):
        assert (is_record(name), is_report(name)) == (name in records, name in reports), name
