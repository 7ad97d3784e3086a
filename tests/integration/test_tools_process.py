"""The process runner against real processes that behave as badly as they can."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.tools.process import Finished, run, tail

pytestmark = pytest.mark.integration

LINUX = sys.platform.startswith("linux")
ENV = {"PATH": os.environ["PATH"]}

# Leaves its group, its session and its parent, ignores SIGTERM, clears its environment, and writes its PID.
ESCAPEE = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.environ.clear()
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


def python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *args]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return not LINUX


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "escapee.pid"
    yield path
    if path.exists() and path.read_text() and alive(int(path.read_text())):
        os.kill(int(path.read_text()), signal.SIGKILL)


def start(
    code: str,
    tmp_path: Path,
    *args: str,
    env: dict[str, str] | None = None,
    timeout_s: float | None = None,
    on_tick: Callable[[], bool | None] | None = None,
    cap: int = 64 << 20,
    grace_s: float = 5.0,
) -> Finished:
    return run(
        python(code, *args),
        log=tmp_path / "log",
        cwd=tmp_path,
        env=ENV if env is None else env,
        timeout_s=timeout_s,
        on_tick=on_tick,
        log_cap_bytes=cap,
        grace_s=grace_s,
    )


def test_output_status_directory_input_and_environment(tmp_path: Path) -> None:
    finished = start(
        """
        import json, os, sys
        print("to stderr", file=sys.stderr, flush=True)
        print(json.dumps([dict(os.environ), os.getcwd(), sys.stdin.read(), os.getsid(0) == os.getpid()]))
        sys.exit(7)
        """,
        tmp_path,
        env={"A": "1", "SPACE": "x y=z"},
    )
    assert (finished.returncode, finished.signal, finished.ok) == (7, None, False)
    assert finished.wall_s > 0
    to_stderr, to_stdout = (tmp_path / "log").read_text().splitlines()
    assert to_stderr == "to stderr"
    environment, directory, standard_input, leads_session = json.loads(to_stdout)
    environment.pop("LC_CTYPE", None)  # Python's own, where the locale is C
    assert environment == {"A": "1", "SPACE": "x y=z"}
    assert (directory, standard_input, leads_session) == (str(tmp_path), "", True)


def test_signal_dispositions_are_the_default_ones(tmp_path: Path) -> None:
    start(
        """
        import signal
        print([s.name for s in signal.Signals if s not in (signal.SIGPIPE, signal.SIGXFSZ)
               and signal.getsignal(s) is signal.SIG_IGN])
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        """,
        tmp_path,
    )
    assert (tmp_path / "log").read_text() == "[]\nset()\n"


def test_no_descriptor_of_ours_reaches_the_program(tmp_path: Path) -> None:
    start("import os; print(sorted(int(fd) for fd in os.listdir('/dev/fd'))[:-1])", tmp_path)
    assert (tmp_path / "log").read_text() == "[0, 1, 2]\n"


def test_a_signal_is_named(tmp_path: Path) -> None:
    finished = start("import os; os.kill(os.getpid(), 11)", tmp_path)
    assert (finished.returncode, finished.signal) == (None, "SIGSEGV")


def test_a_missing_program_and_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="cannot start no-such-program: No such file"):
        run(["no-such-program"], log=tmp_path / "log", cwd=tmp_path, env=ENV)
    with pytest.raises(MissingError, match="nowhere"):
        run(["true"], log=tmp_path / "log", cwd=tmp_path / "nowhere", env=ENV)
    (tmp_path / "plain").write_text("")
    with pytest.raises(MissingError, match="Permission denied") as caught:
        run([str(tmp_path / "plain")], log=tmp_path / "log", cwd=tmp_path, env=ENV)
    assert "chmod" in caught.value.remedy


def test_timeout(tmp_path: Path) -> None:
    finished = start("import time; time.sleep(600)", tmp_path, timeout_s=0.5)
    assert finished.timed_out
    assert finished.signal == "SIGTERM"
    assert not finished.ok


def test_timeout_of_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    finished = start(code, tmp_path, timeout_s=1.0, grace_s=0.3)
    assert finished.timed_out
    assert finished.signal == "SIGKILL"


def test_the_caller_can_stop_it(tmp_path: Path) -> None:
    ticks = []

    def on_tick() -> bool:
        ticks.append(1)
        return len(ticks) < 3

    finished = start("import time; time.sleep(600)", tmp_path, on_tick=on_tick)
    assert finished.stopped_by_caller
    assert not finished.timed_out
    assert len(ticks) == 3


def test_an_error_of_the_caller_ends_the_program_first(tmp_path: Path) -> None:
    pids: list[int] = []

    def on_tick() -> None:
        text = (tmp_path / "log").read_text()
        if text:
            pids.append(int(text))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start("import os, time; print(os.getpid(), flush=True); time.sleep(600)", tmp_path, on_tick=on_tick)
    assert not alive(pids[0])


def test_the_log_is_capped_while_the_program_runs(tmp_path: Path) -> None:
    sizes: list[int] = []
    finished = start(
        """
        import sys, time
        for number in range(100_000):
            sys.stdout.write(f"{number:06d} some words to fill the line\\n")
            if number % 20_000 == 0:
                time.sleep(0.3)
        print("done")
        """,
        tmp_path,
        cap=100_000,
        on_tick=lambda: sizes.append((tmp_path / "log").stat().st_size),
    )
    assert finished.log_truncated
    assert (tmp_path / "log").stat().st_size <= 100_000
    text = (tmp_path / "log").read_text()
    assert text.startswith("000000 some")
    assert tail(tmp_path / "log", 2) == "099999 some words to fill the line\ndone"
    assert text.count("[llmperf:") == 1


@pytest.mark.skipif(not LINUX, reason="needs a child subreaper")
def test_a_process_that_left_group_session_and_parent_is_ended_too(tmp_path: Path, pid_file: Path) -> None:
    finished = start(ESCAPEE, tmp_path, str(pid_file), grace_s=0.3)
    assert finished.returncode == 0
    assert finished.left_behind == ()
    assert not alive(int(pid_file.read_text()))


PARENT = """
import os, sys
from pathlib import Path
from llm_perf_opt.tools.process import run
here = Path(sys.argv[1])
print("running", flush=True)
try:
    run([sys.executable, "-I", "-S", "-c", sys.argv[2], str(here / "escapee.pid"), str(here / "child.pid")],
        log=here / "log", cwd=here, env={"PATH": os.environ["PATH"]}, grace_s=0.3)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""
CHILD = (
    (ESCAPEE if LINUX else "import os, signal, sys, time")
    + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[2], "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""
)


@pytest.fixture
def parent(tmp_path: Path, pid_file: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
            str(tmp_path),
            CHILD if LINUX else CHILD.replace(ESCAPEE, "import os,signal,sys,time"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: (tmp_path / "child.pid").exists() and bool((tmp_path / "child.pid").read_text()))
    yield process
    process.kill()
    process.wait()


def pids(tmp_path: Path) -> list[int]:
    return [int(path.read_text()) for path in tmp_path.glob("*.pid")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_the_parent(parent: subprocess.Popen[str], tmp_path: Path, number: signal.Signals) -> None:
    children = pids(tmp_path)
    assert len(children) == (2 if LINUX else 1)
    parent.send_signal(number)
    out, _ = parent.communicate(timeout=60)
    assert not any(alive(pid) for pid in children)
    assert parent.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert ("interrupted" in out) == (number == signal.SIGINT)


def test_nothing_outlives_a_killed_parent(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    children = pids(tmp_path)
    assert all(alive(pid) for pid in children)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in children), 5.0)


@pytest.mark.skipif(not LINUX, reason="needs /proc and a parent-death signal")
def test_the_supervisor_being_killed_is_an_error_and_ends_the_program(tmp_path: Path) -> None:
    seen: list[int] = []

    def on_tick() -> None:
        text = (tmp_path / "log").read_text().split()
        if len(text) == 2 and not seen:
            seen.extend(int(pid) for pid in text)
            os.kill(seen[1], signal.SIGKILL)

    with pytest.raises(StageError, match="was killed"):
        start(
            "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(600)", tmp_path, on_tick=on_tick
        )
    wait_for(lambda: not alive(seen[0]))


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_what_a_tool_started_in_a_group_of_its_own_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    seen: list[int] = []
    below = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(600)"
    code = f"""
        import os, subprocess, sys, time
        print(os.getppid(), flush=True)
        subprocess.run([sys.executable, "-I", "-S", "-c", {below!r}])
    """

    def on_tick() -> None:
        text = (tmp_path / "log").read_text().split()
        if len(text) == 2 and not seen:
            seen.extend(int(pid) for pid in text)
            os.kill(seen[0], signal.SIGKILL)

    with pytest.raises(StageError, match="was killed"):
        start(code, tmp_path, on_tick=on_tick)
    assert not alive(seen[1])


def test_supervision_does_not_poll_hot(tmp_path: Path) -> None:
    before = time.process_time()
    start("import time; time.sleep(1.5)", tmp_path)
    assert time.process_time() - before < 0.15  # CPU time of this process, not of the clock on the wall
