"""A program that misbehaves while it is profiled: `python misbehaving.py KIND MARK [SECONDS]`. No torch, no GPU.

KIND: hang (not even SIGTERM ends it), flood (200 MB of output), fork (daemons in sessions of their own, without
environment), die (SIGSEGV), leave (exit status 3); after SECONDS. MARK is on every command line.
"""

from __future__ import annotations

import os
import signal
import sys
import time

DAEMONS = 8
FLOOD_BYTES = 200 << 20
LIFE_S = 600


def daemon(mark: str) -> None:
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", f"import time; time.sleep({LIFE_S})", mark], {})


def main(kind: str, mark: str, seconds: float) -> None:
    time.sleep(seconds)
    if kind == "hang":
        for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        time.sleep(LIFE_S)
    elif kind == "flood":
        line = b"x" * 65535 + b"\n"
        for number in range(FLOOD_BYTES // len(line)):
            os.write(1 + number % 2, line)
    elif kind == "fork":
        for _ in range(DAEMONS):
            daemon(mark)
    elif kind == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "leave":
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
