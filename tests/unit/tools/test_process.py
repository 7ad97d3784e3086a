from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.tools.process import Finished, encode_job, run
from llm_perf_opt.tools.supervisor import Job


def test_a_job_survives_the_journey() -> None:
    blob = encode_job(["a", "", "b c", "ü\n"], {"X": "1=2", "EMPTY": ""}, Path("/tmp"), 2.5)
    assert int.from_bytes(blob[:8], "big") == len(blob) - 8
    job = Job(blob[8:])
    assert job.argv == [b"a", b"", b"b c", "ü\n".encode()]
    assert job.env == {b"X": b"1=2", b"EMPTY": b""}
    assert (job.cwd, job.grace_s) == (b"/tmp", 2.5)


def test_an_empty_environment_is_one() -> None:
    assert Job(encode_job(["a"], {}, Path("/"), 5.0)[8:]).env == {}


def test_nul_is_refused() -> None:
    with pytest.raises(StageError, match="NUL"):
        encode_job(["a\0b"], {}, Path("/"), 5.0)


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        ({"returncode": 3}, "exited with status 3"),
        ({"returncode": None, "signal": "SIGSEGV"}, "was ended by SIGSEGV"),
        ({"returncode": None, "signal": "SIGTERM", "timed_out": True}, "was stopped at its time limit, after 7 s"),
        ({"returncode": 0, "stopped_by_caller": True}, "was stopped after 7 s"),
    ],
)
def test_how_it_ended(finished: dict[str, object], words: str) -> None:
    base: dict[str, object] = {"argv": ("x",), "returncode": 0, "signal": None, "timed_out": False}
    base |= {"stopped_by_caller": False, "wall_s": 7.2, "log": Path("log"), "log_truncated": False}
    assert Finished(**{**base, **finished}).how_it_ended() == words  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_process")
def test_unit_tests_cannot_start_processes(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="tried to start a process"):
        run(["true"], log=tmp_path / "log", cwd=tmp_path, env={})
