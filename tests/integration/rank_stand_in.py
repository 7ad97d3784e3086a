"""Stands in for the child of a rank: light, and with a fault. Arguments: the order, then what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    order, fault = Path(sys.argv[1]), sys.argv[2]
    rank = int(os.environ["RANK"])
    events = (order.parent / f"rank-{rank}" / "events.jsonl").open("a", buffering=1)

    def say(**event: object) -> None:
        print(json.dumps(event), file=events)

    say(kind="phase", name="measure", done=0, total=3)
    if rank == 1 and fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 and fault == "out of memory":
        say(kind="failed", error="out of memory: decode", remedy="lower infer.batch_size", exit_code=1, another=False)
        sys.exit(1)
    if rank == 0 and fault == "out of memory":
        say(kind="failed", error="Connection closed by peer", remedy="see the log", exit_code=1, another=True)
        sys.exit(1)
    if rank == 0:
        time.sleep(0.5)
        say(kind="step", count=7)
    time.sleep(600)


if __name__ == "__main__":
    main()
