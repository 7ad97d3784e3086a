"""The process between llmperf and a command it started: it sees to it that nothing outlives either of them.

Run as `python -I -S supervisor.py FD`, never imported by llmperf (and it imports nothing of ours, so that it
starts in about ten milliseconds). FD is one end of a socket pair:

- llmperf first sends the job (`process.encode_job`), later at most `T` (end the command, SIGTERM first) and
  `K` (kill it now). End of file means that llmperf died: the command is ended too.
- the supervisor answers with lines: `error ERRNO WHAT`, `started PID`, `exit STATUS SECONDS` (the wait status
  of the command), `clean [PID…]` (nothing is left running, but for those PIDs, which even SIGKILL did not end).

On Linux it is a child subreaper (prctl(2)): a descendant whose own parent died becomes our child, whatever
session or group it moved to, so the tree under this process always holds everything the command started.
An environment marker would miss processes that clear their environment, and a group those that leave it.
Elsewhere only the command's process group is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

ORPHAN_GRACE_S = 2.0  # between SIGTERM and SIGKILL when llmperf died; with it, nothing outlives llmperf by 5 s
KILL_WAIT_S = 5.0  # how long to wait for killed processes: one stuck in a driver call may never go
STEP_S = 0.05
IDLE_S = 1.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
LINUX = sys.platform.startswith("linux")


class Job:
    """What to run: argv, environment, directory, and the seconds between SIGTERM and SIGKILL."""

    def __init__(self, blob: bytes) -> None:
        fields = blob.split(b"\0")
        self.cwd = fields[0]
        self.grace_s = float(fields[1])
        count = int(fields[2])
        self.argv = fields[3 : 3 + count]
        self.env = dict(entry.split(b"=", 1) for entry in fields[3 + count :] if entry)


def prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def receive(fd: int) -> Job:
    """Read the job: eight bytes of length, big-endian, then that many of `\\0`-separated fields."""
    data = b""
    while len(data) < 8 or len(data) < 8 + int.from_bytes(data[:8], "big"):
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            sys.exit(1)
        data += chunk
    return Job(data[8 : 8 + int.from_bytes(data[:8], "big")])


def send(fd: int, text: str) -> None:
    # llmperf may be gone; its end is noticed where the socket is read.
    with contextlib.suppress(OSError):
        os.write(fd, text.encode() + b"\n")


def start(job: Job) -> tuple[int, str]:
    """Fork and exec the command in a session of its own; returns its PID, and what failed where exec did."""
    error_r, error_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        what = "cwd"
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGXFSZ, *IGNORED):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            if LINUX:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.chdir(job.cwd)
            what = "command"
            os.execvpe(job.argv[0], job.argv, job.env)
        except OSError as error:
            os.write(error_w, f"{error.errno} {what}".encode())
        finally:
            os._exit(127)
    os.close(error_w)
    failed = os.read(error_r, 100).decode()
    os.close(error_r)
    if failed:
        os.waitpid(pid, 0)
    return pid, failed


def descendants() -> list[int]:
    """Every live process below this one, from the parent PIDs in /proc."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  (pathlib costs more than this whole start)
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                # The command name is in parentheses and may hold anything, so split after the last one.
                state, ppid = stat.read().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    parents[int(name)] = int(ppid)
    found: set[int] = set()
    frontier = {os.getpid()}
    while frontier:
        frontier = {pid for pid, ppid in parents.items() if ppid in frontier and pid not in found}
        found |= frontier
    return sorted(found)


class Supervisor:
    """One command from its start until nothing of it is left."""

    def __init__(self, fd: int, wake: int, pid: int, grace_s: float, parent: int) -> None:
        self.fd, self.wake, self.pid, self.grace_s, self.parent = fd, wake, pid, grace_s, parent
        self.started = time.monotonic()
        self.running = True
        self.orphaned = False
        self.kill_now = False

    def reap(self) -> None:
        """Collect every ended child; report the command when it is among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.running = False
                send(self.fd, f"exit {status} {time.monotonic() - self.started:.6f}")

    def wait(self, seconds: float) -> bool:
        """Sleep until something happens; true when the command is to be ended."""
        readable, _, _ = select.select([self.wake] if self.orphaned else [self.fd, self.wake], [], [], seconds)
        if self.wake in readable:
            os.read(self.wake, 4096)
        self.reap()
        if self.fd in readable:
            try:
                order = os.read(self.fd, 1)
            except OSError:
                order = b""
            self.orphaned = self.orphaned or not order
            self.kill_now = self.kill_now or order == b"K"
            return True
        if os.getppid() != self.parent:
            self.orphaned = True
        return self.orphaned

    def alive(self) -> list[int]:
        if LINUX:
            return descendants()
        try:
            os.killpg(self.pid, 0)
        except OSError:
            return []
        return [-self.pid]

    def signal_all(self, pids: list[int], number: int) -> None:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def end(self) -> list[int]:
        """SIGTERM, wait, SIGKILL, until nothing is left; returns the PIDs that even that did not end."""
        left = self.alive()
        self.signal_all(left, signal.SIGTERM)
        kill_at = time.monotonic() + (ORPHAN_GRACE_S if self.orphaned else self.grace_s)
        give_up_at = kill_at + KILL_WAIT_S
        while left:
            self.wait(STEP_S)
            now = time.monotonic()
            if self.orphaned:
                kill_at = min(kill_at, now + ORPHAN_GRACE_S)
            left = self.alive()
            if self.kill_now or now >= kill_at:
                self.signal_all(left, signal.SIGKILL)
            if now >= give_up_at:
                break
        self.reap()
        return [abs(pid) for pid in left]


def main() -> None:
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    parent = os.getppid()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wake, wake_w = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    job = receive(fd)
    pid, failed = start(job)
    if failed:
        send(fd, f"error {failed}")
        return
    send(fd, f"started {pid}")
    supervisor = Supervisor(fd, wake, pid, job.grace_s, parent)
    while supervisor.running and not supervisor.wait(IDLE_S):
        pass
    stuck = supervisor.end()
    send(fd, " ".join(["clean", *map(str, stuck)]))


if __name__ == "__main__":
    main()
