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
"""What is run warm."""

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


def hand_over(path: str) -> None:
    """Does not return where the server took the child over."""
    module, *arguments = sys.orig_argv[sys.orig_argv.index("-m") + 1 :]
    if module not in MODULES or Path(path).with_suffix(".json").read_text() != conditions():
        return
    umask = os.umask(0)
    os.umask(umask)
    order = {
        "module": module,
        "argv": arguments,
        "environment": dict(os.environ),
        "path": [str(Path.cwd()), *sys.path],
        "cwd": str(Path.cwd()),
        "umask": umask,
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
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
