"""What ends a command early: Ctrl-C, and what job schedulers and closed terminals send."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_seen = [False]


def were_seen() -> bool:
    """Whether one arrived.

    KeyboardInterrupt may be raised anywhere: a library may turn it into an error of its own, and in a destructor Python
    forgets it.
    """
    return _seen[0]


def _hook(unraisable: sys.UnraisableHookArgs) -> None:
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


@contextlib.contextmanager
def raised(*, last: bool) -> Iterator[None]:
    """Raise KeyboardInterrupt for each of them; one that is ignored, as under nohup, stays so.

    Args:
        last: the process ends with this: what is sent afterwards is too late to change how it went.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _seen[0] = True
        raise KeyboardInterrupt

    _seen[0] = False
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) in defaults}
    for number in before:
        signal.signal(number, interrupt)
    hook, sys.unraisablehook = sys.unraisablehook, _hook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else handler)
