"""A tiny workload for the stand-ins: ranges and pretended kernels, as its arguments say. No torch, no GPU.

Each argument is one step, in order:

    push:NAME[@DOMAIN]  pop[:@DOMAIN]  start:NAME[@DOMAIN]  end    registered strings, as the nvtx package sends them
    plain:NAME          a push with a plain string, as torch.cuda.nvtx sends it
    kernel:NAME         a kernel launch, as the stand-ins count them: a mark in the domain `standin`
    profiler:start      profiler:stop    cudaProfilerStart and -Stop, likewise
    sleep:SECONDS       print:WORDS    exit:STATUS    crash    file:PATH (written, to show how far it got)
    thread:STEP         that step in a thread of its own
    repeat:N:STEP       that step N times
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import nvtx

DOMAIN = "standin"
_starts: list[tuple[object, int]] = []


def plain_push(name: str) -> None:
    """nvtxRangePushA of the library that the nvtx package is built on: its dummy-free C entry, with a plain string."""
    library = ctypes.CDLL(os.environ["PLAIN_NVTX"])
    library.push_plain(name.encode())


def step(words: str) -> None:
    kind, _, rest = words.partition(":")
    name, _, domain_name = rest.partition("@")
    domain = nvtx.get_domain(domain_name or None)
    if kind == "push":
        domain.push_range(domain.get_event_attributes(message=name))
    elif kind == "pop":
        domain.pop_range()
    elif kind == "start":
        _starts.append((domain, domain.start_range(domain.get_event_attributes(message=name))))
    elif kind == "end":
        started_in, handle = _starts.pop()
        started_in.end_range(handle)  # type: ignore[attr-defined]
    elif kind == "plain":
        plain_push(name)
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
