"""In place of `llmperf run` in a sweep: makes what a run makes of itself, in a tenth of a second.

Run as `python -I -S sweep_point.py RUN_DIRECTORY JOURNAL SECONDS`. The journal gets a line for every start, for every
end, and for every clash: two at the same point at the same time.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path


def main(run_path: Path, journal: Path, seconds: float) -> None:
    def say(what: str) -> None:
        descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{what} {run_path.name}\n".encode())
        os.close(descriptor)

    def write(name: str, text: str) -> None:
        (run_path / f".{name}.new").write_text(text)
        (run_path / f".{name}.new").replace(run_path / name)

    manifest = {"llmperf_version": "0", "argv": [], "created": "2026-01-01T00:00:00Z", "stages": {}}
    run_path.mkdir(parents=True, exist_ok=True)
    lock = os.open(run_path / "lock", os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("clash")
    say("start")
    write("run.json", json.dumps({**manifest, "status": "running"}))
    write("config.yaml", "{}\n")
    time.sleep(seconds)
    end = {"status": "completed", "exit_code": 0, "ended": "2026-01-01T00:00:01Z"}
    write("run.json", json.dumps({**manifest, **end}))
    say("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
