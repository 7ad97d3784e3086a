"""A tiny workload for the tools: ranges and pretended kernels, as its arguments say. No torch, no GPU.

Each argument is one step, in order:

    push:NAME[@DOMAIN]  pop[:@DOMAIN]  start:NAME[@DOMAIN]  end    registered strings, as the nvtx package sends them
    plain:NAME          a push with a plain string, as torch.cuda.nvtx sends it
    kernel:NAME         a kernel launch, as the stand-ins count them: a mark in the domain `standin`
    profiler:start      profiler:stop    cudaProfilerStart and -Stop, likewise
    sleep:SECONDS       print:WORDS    exit:STATUS    crash    file:PATH (written, to show how far it got)
    thread:STEP         that step in a thread of its own
    repeat:N:STEP       that step N times

With WORKLOAD_NVTX=library pushes and pops go through `plain_nvtx.c` instead of the nvtx package.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nvtx

DOMAIN = "standin"
_starts: list[tuple[Any, int]] = []


def library() -> ctypes.CDLL:
    """`plain_nvtx.c`, compiled."""
    return ctypes.CDLL(os.environ["PLAIN_NVTX"])


class LibraryDomain:
    """What is used here of a domain of the nvtx package, without it."""

    def __init__(self, name: str | None) -> None:
        self._library = library()
        self._library.make_domain.restype = ctypes.c_void_p
        self._domain = ctypes.c_void_p(self._library.make_domain(name.encode() if name else None))

    def get_event_attributes(self, message: str) -> str:
        return message

    def push_range(self, message: str) -> None:
        self._library.push_registered(self._domain, message.encode())

    def pop_range(self) -> None:
        self._library.pop_in(self._domain)


@functools.cache
def domain_of(name: str | None) -> Any:
    return LibraryDomain(name) if os.environ.get("WORKLOAD_NVTX") == "library" else nvtx.get_domain(name)


def step(words: str) -> None:
    kind, _, rest = words.partition(":")
    name, _, domain_name = rest.partition("@")
    domain = domain_of(domain_name or None)
    if kind == "push":
        domain.push_range(domain.get_event_attributes(message=name))
    elif kind == "pop":
        domain.pop_range()
    elif kind == "start":
        _starts.append((domain, domain.start_range(domain.get_event_attributes(message=name))))
    elif kind == "end":
        started_in, handle = _starts.pop()
        started_in.end_range(handle)
    elif kind == "plain":
        library().push_plain(name.encode())
    elif kind == "kernel":
        nvtx.mark(rest, domain=DOMAIN)
    elif kind == "profiler":
        nvtx.mark({"start": "cudaProfilerStart", "stop": "cudaProfilerStop"}[rest], domain=DOMAIN)
    else:
        other_step(kind, rest)


def other_step(kind: str, rest: str) -> None:
    if kind == "sleep":
        time.sleep(float(rest))
    elif kind == "print":
        print(rest, flush=True)
    elif kind == "file":
        Path(rest).touch()
    elif kind == "exit":
        sys.exit(int(rest))
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "thread":
        thread = threading.Thread(target=step, args=(rest,))
        thread.start()
        thread.join()
    elif kind == "repeat":
        count, _, repeated = rest.partition(":")
        for _ in range(int(count)):
            step(repeated)
    else:
        raise SystemExit(f"unknown step {kind}:{rest}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        step(argument)
