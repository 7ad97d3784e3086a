"""In a child that Python just started: have the server run its module, and end as that ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import IO

MODULES = (
    *("llm_perf_opt.workload", "llm_perf_opt.analysis.traced", "llm_perf_opt.stages.static_analysis.child"),
    "torch.distributed.run",
)
"""What is run by the server that has torch; the other runs `llmperf`."""
TORCH, COMMANDS = "torch", "commands"
"""The servers, by the names of their sockets."""

# What decides how torch, transformers or the loader of libraries begin. CUDA, NCCL and NVTX begin when they are used.
_AT_IMPORT = re.compile(
    "ACCELERATE|DYLD_|GOMP|HF_|KMP_|LD_|MALLOC_|MKL_|OMP_|PYTHON|PYTORCH|TORCH(?!ELASTIC|_NCCL)|TRANSFORMERS|TRITON|USE_"
)
_HARMLESS = {"PYTHONPATH", "PYTHONUNBUFFERED", "TORCHINDUCTOR_CACHE_DIR", "TRANSFORMERS_OFFLINE"}


def at_import() -> dict[str, str]:
    """The part of the environment that may decide what an import does."""
    return {name: value for name, value in os.environ.items() if _AT_IMPORT.match(name) and name not in _HARMLESS}


def limits() -> list[tuple[int, int]]:
    """The bounds of memory, of a file's size and of open files."""
    return [resource.getrlimit(which) for which in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)]


def conditions() -> str:
    """What must be equal in the server and in who asks it; otherwise a child starts as ever."""
    return json.dumps([sys.executable, at_import(), limits()], sort_keys=True)


def hand_over(folder: str) -> None:
    """Does not return where a server took the process over."""
    is_module = "-m" in sys.orig_argv[1:3]
    program, *arguments = sys.orig_argv[sys.orig_argv.index("-m") + 1 if is_module else 1 :]
    if is_module and program not in MODULES:
        return
    path = Path(folder) / (TORCH if is_module else COMMANDS)
    if path.with_suffix(".json").read_text() != conditions():
        return
    umask = os.umask(0)
    os.umask(umask)
    order = {
        "module": program if is_module else None,
        "argv": [program, *arguments],
        "environment": dict(os.environ),
        "path": [str(Path.cwd() if is_module else Path(program).parent), *sys.path],
        "cwd": str(Path.cwd()),
        "umask": umask,
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        body = json.dumps(order).encode()
        socket.send_fds(connection, [len(body).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(body)
        _end_as(connection.makefile())


def _end_as(answers: IO[str]) -> None:
    pid = int(answers.readline())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: _pass_on(pid, received))
    status = os.waitstatus_to_exitcode(int(answers.readline()))
    if status < 0:
        with contextlib.suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
