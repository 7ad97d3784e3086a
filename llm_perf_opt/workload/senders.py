"""Through what this process sends its NVTX ranges; chosen once, and tried in another process first.

From 0.2.12 on the nvtx package asks NVTX whether a domain is enabled, and pushes nothing where the answer is no. The
question is an extension of NVTX, and a tool that refuses extensions answers no whatever it listens to (seen: nsys
2022.4.2 and 2023.4.4). There ranges go through the same package without the question; where a release of the package
does not let them, through torch, whose NVTX asks nothing and sends plain strings.

Tools were seen to crash in NVTX calls. Where one has put itself under NVTX, `python -m llm_perf_opt.workload.senders`
pushes a range first: if that dies or hangs, this process sends none and lives. Nothing heavy is imported for it.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SenderName = Literal["nvtx", "nvtx-direct", "torch"]
INJECTION = "NVTX_INJECTION64_PATH"
"""NVTX loads the library that this variable names; nsys and ncu set it to theirs."""
DISABLED = "NVTX_DISABLE"
"""A variable of the nvtx package."""
PROBE_LIMIT_S = 20.0
PROBE_RANGE = "llmperf probe"
"""May be in a report, from a process of its own."""


@dataclass(frozen=True, slots=True)
class Sender:
    """How ranges of the default domain are pushed and popped.

    Attributes:
        name: what sends; None when nothing is sent.
        reason: why it is not the nvtx package as it is.
        message: makes of a name what `push` takes; called once a range.
        sent: name → how often it was pushed, kept only where a tool listens.
    """

    name: SenderName | None
    reason: str | None = None
    message: Callable[[str], Any] = str
    push: Callable[[Any], object] = lambda _message: None
    pop: Callable[[], object] = lambda: None
    sent: Counter[str] | None = field(default=None, compare=False)


@functools.cache
def sender() -> Sender:
    """The sender of this process."""
    if not listened_to(os.environ):
        return _quick()
    if os.environ.get(DISABLED):
        return Sender(None, f"{DISABLED} is set")
    problem = probe()
    return first_that_sends() if problem is None else Sender(None, problem)


def listened_to(environ: Mapping[str, str]) -> bool:
    """Whether a tool has put itself under NVTX."""
    return bool(environ.get(INJECTION))


def _quick() -> Sender:
    """The nvtx package, which makes ranges cost next to nothing where no tool listens."""
    import nvtx

    domain = nvtx.get_domain()
    listens = not _is_dummy(domain)
    return Sender(
        "nvtx" if listens else None,
        None if listens else "no tool listens to NVTX",
        lambda name: domain.get_event_attributes(message=name),
        domain.push_range,
        domain.pop_range,
    )


def first_that_sends() -> Sender:
    """The first sender whose ranges reach the tool."""
    import nvtx

    domain, name, reason = nvtx.get_domain(), "nvtx", None
    if _is_dummy(domain):
        reason = "the tool tells the nvtx package that it wants no ranges, as releases do that know no NVTX extensions"
        domain, name = _direct_domain(), "nvtx-direct"
    if domain is None:
        return _torch(reason)
    return Sender(
        "nvtx" if name == "nvtx" else "nvtx-direct",
        reason,
        lambda text: domain.get_event_attributes(message=text),
        domain.push_range,
        domain.pop_range,
        Counter(),
    )


def _is_dummy(domain: object) -> bool:
    return type(domain).__name__ == "DummyDomain"


def _direct_domain() -> Any | None:
    """The package's default domain without the question that its constructor asks; None where it is made otherwise."""
    try:
        from nvtx._lib.lib import Domain, DomainHandle

        domain = object.__new__(Domain)
        domain.handle = DomainHandle(None)
        domain.__init__(None)
        domain.get_event_attributes(message=PROBE_RANGE)
    except (ImportError, AttributeError, TypeError):
        return None
    return domain


def _torch(reason: str | None) -> Sender:
    import torch

    from llm_perf_opt.workload.torch_private import has_nvtx

    if not has_nvtx():
        return Sender(None, f"{reason}, and this build of torch has no NVTX")
    return Sender("torch", reason, str, torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop, Counter())


def probe(limit_s: float | None = None) -> str | None:
    """Push a range in a process of its own, under the same tool; why none should be pushed here, or None."""
    limit_s = PROBE_LIMIT_S if limit_s is None else limit_s
    command = [sys.executable, "-m", __name__]
    try:
        status = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"a process that pushed a range to try the tool out hung for {limit_s:g} s"
    if status == 0:
        return None
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"a process that pushed a range to try the tool out {how}"


def main() -> None:
    """The probe. It leaves without cleaning up: what a tool does at exit is no reason to send nothing, and the range
    rarely gets into the report then."""
    chosen = first_that_sends()
    chosen.push(chosen.message(PROBE_RANGE))
    chosen.pop()
    os._exit(0)


if __name__ == "__main__":
    main()
