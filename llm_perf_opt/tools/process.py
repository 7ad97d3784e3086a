"""The one way llmperf starts another program: `run`.

The program's output goes from its own file descriptors straight into a log file; nothing is copied through
this process, which wakes ten times a second to look at the clock and at the size of the log. Whatever the
program starts is ended with it, and all of it with llmperf, `kill -9` included: see `supervisor`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.tools.log import CappedLog, tail

__all__ = ["Finished", "run", "tail"]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
END = b"T"
KILL = b"K"
SESSION_KILL_S = 5.0
"""How long to wait for killed processes: one stuck in a driver call may never go."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Attributes:
        argv: what was run.
        returncode: exit status; None when a signal ended it.
        signal: name of that signal (`SIGKILL`, …), else None.
        timed_out: it was ended because it ran past its time.
        stopped_by_caller: it was ended because `on_tick` returned False.
        wall_s: seconds from its start to its end, without the supervisor's own start.
        log: file with its output, both streams.
        log_truncated: the middle of the output is missing from the log.
        left_behind: processes that even SIGKILL did not end (stuck in a driver); empty on a healthy machine.
    """

    argv: tuple[str, ...]
    returncode: int | None
    signal: str | None
    timed_out: bool
    stopped_by_caller: bool
    wall_s: float
    log: Path
    log_truncated: bool
    left_behind: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """It ended by itself with status 0."""
        return self.returncode == 0 and not self.timed_out and not self.stopped_by_caller

    def how_it_ended(self) -> str:
        """A clause for messages: `exited with status 3`, `was ended by SIGSEGV`, `was stopped after 60 s`."""
        if self.timed_out:
            return f"was stopped at its time limit, after {self.wall_s:.0f} s"
        if self.stopped_by_caller:
            return f"was stopped after {self.wall_s:.0f} s"
        return f"was ended by {self.signal}" if self.signal else f"exited with status {self.returncode}"


def encode_job(argv: Sequence[str], env: Mapping[str, str], cwd: Path, grace_s: float) -> bytes:
    """The message the supervisor starts from; argv and environment stay off its own command line."""
    strings = [str(cwd), repr(grace_s), str(len(argv)), *argv, *(f"{key}={value}" for key, value in env.items())]
    if any("\0" in text for text in strings):
        raise StageError("a command, its directory or its environment contains a NUL character")
    body = b"\0".join(os.fsencode(text) for text in strings)
    return len(body).to_bytes(8, "big") + body


def run(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float | None = None,
    on_tick: Callable[[], bool | None] | None = None,
    tick_s: float = 0.1,
    log_cap_bytes: int = 64 << 20,
    grace_s: float = 5.0,
) -> Finished:
    """Run a program to its end and leave none of its processes behind.

    It gets a session of its own, `/dev/null` as input and exactly `env`; both output streams are written to
    `log`, replaced if it exists, of which the start and the end are kept when it grows past `log_cap_bytes`.
    At `timeout_s`, or once `on_tick` returns False, everything it started gets SIGTERM and, `grace_s` later,
    SIGKILL. The same happens before KeyboardInterrupt, SIGTERM or any error of `on_tick` leaves this function
    (a second Ctrl-C kills at once), and to processes that remain after the program's own end.

    Raises:
        MissingError: the program or the directory is missing or not usable.
        StageError: the supervisor itself was killed.
    """
    if not argv:
        raise StageError("no command to run")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with _sigterm_as_exception(), CappedLog(log, log_cap_bytes) as output:
        session = _Session(argv, output, cwd, env, grace_s)
        timed_out = stopped = False
        try:
            while session.listen(tick_s if deadline is None else min(tick_s, max(0.0, deadline - time.monotonic()))):
                output.trim()
                if timed_out or stopped:
                    continue
                timed_out = deadline is not None and time.monotonic() >= deadline
                stopped = not timed_out and on_tick is not None and on_tick() is False
                if timed_out or stopped:
                    deadline = None
                    session.order(END)
        except BaseException:
            session.abandon()
            raise
        finally:
            session.close()
    code = os.waitstatus_to_exitcode(session.status)
    return Finished(
        argv=tuple(argv),
        returncode=code if code >= 0 else None,
        signal=None if code >= 0 else _signal_name(-code),
        timed_out=timed_out,
        stopped_by_caller=stopped,
        wall_s=session.wall_s,
        log=log,
        log_truncated=output.truncated,
        left_behind=session.left_behind,
    )


class _Session:
    """The supervisor of one program, and what it has said so far."""

    def __init__(
        self, argv: Sequence[str], output: CappedLog, cwd: Path, env: Mapping[str, str], grace_s: float
    ) -> None:
        job = encode_job(argv, env, cwd, grace_s)
        self.argv = argv
        self.cwd = cwd
        self.running = True
        self.pid: int | None = None
        self.status = 0
        self.wall_s = 0.0
        self.left_behind: tuple[int, ...] = ()
        self._pending = b""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output.fd,
                stderr=output.fd,
                pass_fds=[theirs.fileno()],
                # nsys reads the environment of the process that started it from /proc and stores it in its report, so
                # nothing may be in it that was kept from the program.
                env=dict(env),
                start_new_session=True,
            )
        with contextlib.suppress(OSError):  # a supervisor that is gone already is noticed in listen()
            self._socket.sendall(job)

    def listen(self, seconds: float) -> bool:
        """Wait for news, at most this long; false once nothing is left running."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return self.running
        try:
            data = self._socket.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self.running = False
            self._supervisor_lost()
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._hear(line.decode())
        return self.running

    def _hear(self, line: str) -> None:
        word, *rest = line.split()
        if word == "started":
            self.pid = int(rest[0])
        elif word == "exit":
            self.status, self.wall_s = int(rest[0]), float(rest[1])
        elif word == "clean":
            self.left_behind = tuple(int(pid) for pid in rest)
            self.running = False
        elif word == "error":
            self.running = False
            self._start_failed(int(rest[0]), rest[1])

    def _start_failed(self, number: int, what: str) -> None:
        reason = os.strerror(number)
        if what == "cwd":
            raise MissingError(f"cannot start {self.argv[0]} in {self.cwd}: {reason}", "check that the folder exists")
        remedy = "install it or correct its path"
        if number == errno.EACCES:
            remedy = "make the file executable (chmod +x)"
        raise MissingError(f"cannot start {self.argv[0]}: {reason}", remedy)

    def _supervisor_lost(self) -> None:
        # The command dies with its supervisor (PR_SET_PDEATHSIG); its group and session are ended here: what a tool
        # started, often in a group of its own, does not.
        if self.pid is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            _kill_session(self.pid)
        raise StageError(
            f"the process that watches over {self.argv[0]} was killed, so the command was killed too",
            "see whether the machine ran out of memory (dmesg), then run again",
        )

    def order(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(what)

    def abandon(self) -> None:
        """End everything and wait for that; being interrupted again kills at once."""
        self.order(END)
        while self.running:
            try:
                self.listen(1.0)
            except (KeyboardInterrupt, _Terminated):
                self.order(KILL)
            except (StageError, MissingError):
                return

    def close(self) -> None:
        """End of file on the socket lets a supervisor that still runs end everything by itself."""
        self._socket.close()
        self._process.wait()


class _Terminated(BaseException):
    """SIGTERM arrived while a program was running."""


@contextlib.contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Let SIGTERM end the program first, then this process, as if nothing had been in between.

    Only where SIGTERM would have ended this process: a handler that somebody installed is left alone.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def raise_terminated(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _kill_session(session: int) -> None:
    """Kill every process of a session; on systems without /proc none is found."""
    deadline = time.monotonic() + SESSION_KILL_S
    while (members := _members(session)) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _members(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # The command name is in parentheses and may hold anything.
            state, _, _, of, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(of) == session and state != b"Z":
                found.append(int(entry.name))
    return found


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
