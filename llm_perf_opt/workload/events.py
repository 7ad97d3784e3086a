"""How a child tells its parent how far it is: one JSON object a line, appended to a file.

A file works alike for a direct child and for one under nsys or ncu, survives a kill, and can be read afterwards.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEARTBEAT_S = 1.0


@dataclass
class Event:
    """`kind` is device, ranges, phase, step, failed or done; what else there is depends on it."""

    kind: str
    fields: dict[str, Any]


class EventWriter:
    """The child's side. `count` is bumped by the decode loop and reported once a second, so that a long
    generation is seen to move without a write in every step."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._stop = threading.Event()
        self.count = 0
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def phase(self, name: str, done: int, total: int) -> None:
        """The child is in phase `name` and has finished `done` of its `total` runs."""
        self._write({"kind": "phase", "name": name, "done": done, "total": total})

    def device(self, name: str) -> None:
        """The child works on this device; said early, since a tool may end the child before it has written anything."""
        self._write({"kind": "device", "name": name})

    def ranges(self, sender: str | None, reason: str | None) -> None:
        """Through what the child sends its NVTX ranges; said early, likewise."""
        self._write({"kind": "ranges", "sender": sender, "reason": reason})

    def failed(self, error: str, remedy: str, exit_code: int, *, another: bool = False) -> None:
        """It ends with this error; `another`: because another rank has gone, which has an error of its own."""
        told = {"kind": "failed", "error": error, "remedy": remedy, "exit_code": exit_code, "another": another}
        self._write(told)

    def done(self) -> None:
        self._stop.set()
        self._write({"kind": "done"})

    def _beat(self) -> None:
        seen = 0
        while not self._stop.wait(HEARTBEAT_S):
            if self.count != seen:
                seen = self.count
                self._write({"kind": "step", "count": seen})

    def _write(self, fields: dict[str, Any]) -> None:
        os.write(self._descriptor, (json.dumps(fields) + "\n").encode())


class EventReader:
    """The parent's side: gives the events that were appended since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> Iterator[Event]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        for line in data[:complete].splitlines():
            fields = json.loads(line)
            yield Event(kind=fields.pop("kind"), fields=fields)
