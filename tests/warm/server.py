"""The process that others are forked off: `python -m tests.warm.server SOCKET`, until its standard input ends."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import re
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import llm_perf_opt
from tests.warm import client

_IN_A_CHILD = re.compile(r"\.(workload|traced|child\w*|__main__|supervisor)\b")


def serve(path: Path) -> None:
    """Fork for every connection; what imports are for is in this process."""
    path.with_suffix(".json").write_text(client.conditions())
    _import_torch() if path.name == client.TORCH else _import_commands()
    gc.collect()
    gc.freeze()
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        raise RuntimeError("an import started a thread, and a process with threads is not to be forked")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        print("ready", flush=True)
        while True:
            readable = select.select([listener.fileno(), 0], [], [], 1)[0]
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass
            if 0 in readable:
                break
            if listener.fileno() in readable:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _watch(connection)
                connection.close()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _import_torch() -> None:
    import llm_perf_opt.analysis.traced.trace
    import llm_perf_opt.workload.job  # noqa: F401


def _import_commands() -> None:
    """Every command, with what it imports once it runs; what runs in a child is no part of it."""
    for module in pkgutil.walk_packages(llm_perf_opt.__path__, "llm_perf_opt."):
        if not _IN_A_CHILD.search(module.name):
            importlib.import_module(module.name)


def _watch(connection: socket.socket) -> None:
    """Fork the child; tell its process ID and its status, and kill it when whom it stands for is gone."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    order = json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(order, streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(pid)
    connection.sendall(f"{pid}\n".encode())
    if ended not in select.select([connection.fileno(), ended], [], [])[0]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _run(order: dict[str, Any], streams: list[int]) -> None:
    """Be the child."""
    code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.umask(order["umask"])
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.path[:] = order["path"]
        sys.argv = order["argv"]
        if order["module"] is None:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
    os._exit(0)
