"""Who works on a point: leases that are files, so that sweepers on any machines share one directory.

A lease is a file that only one process can have made (`O_EXCL`), and its holder beats: it sets the file's time to the
number of the beat. No clock is in it, nothing is written for it (a full disk stops no beat), and an observer judges by
its own clock alone how long a beat has not changed. A lease that was silent for too long is taken over by making the
next one: leases of a point are numbered, the highest counts, and of two that want it only one can make it. A holder
that sees a higher number has lost the point and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.artifacts.claim import claim_file

BEAT_S = 5.0
"""Between two beats of a holder."""
SILENCE_S = 90.0
"""A lease that has not changed for so long has no holder; network file systems may show a beat half a minute late."""
_RELEASED = 0
_SECONDS_A_BEAT = 2
"""Some file systems keep whole or even seconds of a file's time."""


@dataclass(frozen=True)
class Pace:
    """How often holders beat, and how long observers wait."""

    beat_s: float = BEAT_S
    silence_s: float = SILENCE_S


@dataclass
class Lease:
    """A point that this process works on."""

    path: Path
    following: Path
    """Made by who takes it over."""
    pace: Pace
    clock: Callable[[], float] = time.monotonic
    beats: int = 1
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = self.clock()

    def keep(self) -> bool:
        """Beat, where it is time to; False once another has taken the point over."""
        if self.clock() - self._last >= self.pace.beat_s:
            self._last = self.clock()
            if self.following.exists():
                return False
            self.beats += 1
            with contextlib.suppress(OSError):  # said again at the next beat
                _stamp(self.path, self.beats)
        return True

    def release(self) -> None:
        """Nobody works on the point any more."""
        with contextlib.suppress(OSError):
            _stamp(self.path, _RELEASED)


def _stamp(path: Path, beat: int) -> None:
    os.utime(path, (beat * _SECONDS_A_BEAT, beat * _SECONDS_A_BEAT))


@dataclass
class Leases:
    """The leases of a sweep's directory, as one process sees them; its threads may share them."""

    folder: Path
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """Point → number of its lease, its beat, and since when it is that."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str) -> Lease | None:
        """The lease of a point, where nobody holds it or its holder is silent; None while somebody may be at it.

        Raises:
            MissingError, StageError: the file cannot be written.
        """
        with self._lock:
            number = self._highest(key)
            if number and not self._is_free(key, number):
                return None
        path = self._path(key, number + 1)
        try:
            claim_file(path, json.dumps(_holder()) + "\n")
        except FileExistsError:
            return None
        with contextlib.suppress(OSError):
            _stamp(path, 1)
        return Lease(path, self._path(key, number + 2), self.pace, self.clock)

    def is_abandoned(self, key: str) -> bool:
        """Whether a point was worked on, and is not any more: its last lease is released, or its holder silent."""
        with self._lock:
            number = self._highest(key)
            return number > 0 and self._is_free(key, number)

    def _highest(self, key: str) -> int:
        number = self._seen[key][0] if key in self._seen else 0
        while self._path(key, number + 1).exists():
            number += 1
        return number

    def _is_free(self, key: str, number: int) -> bool:
        """Whether the holder has released the lease, or been silent for long enough of this process's time."""
        try:
            beat = _beat_of(self._path(key, number))
        except FileNotFoundError:  # somebody tidied up: counted anew at the next question
            self._seen.pop(key, None)
            return False
        if beat == _RELEASED:
            return True
        known = self._seen.get(key)
        if known is None or known[:2] != (number, beat):
            known = self._seen[key] = (number, beat, self.clock())
        return self.clock() - known[2] >= self.pace.silence_s

    def _path(self, key: str, number: int) -> Path:
        return self.folder / f"{key}.lease-{number}"


def _beat_of(path: Path) -> int:
    """What the lease's time says; read through an open file, since network file systems ask their server then."""
    with path.open("rb") as file:
        return int(os.fstat(file.fileno()).st_mtime)


def _holder() -> dict[str, str | int]:
    """For a person who looks."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
