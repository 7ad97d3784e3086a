"""What is wrong with how a command ended, from its exit code, its output and the files that it left.

Uses nothing of llmperf.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Wrong = Literal[
    "lost", "orphans", "tracebacks", "hangs over 10 s", "memory over 1 GB", "wrong exit codes", "untruthful manifests"
]
WRONG: tuple[Wrong, ...] = (
    "lost", "orphans", "tracebacks", "hangs over 10 s", "memory over 1 GB", "wrong exit codes", "untruthful manifests",
)  # fmt: skip
MOST_BYTES = 1 << 30
LIMIT_S = 10.0
DOCUMENTED = frozenset({0, 1, 2, 3, 4, 5, 130})
_UNSIGNED = ("run.json", "llmperf.log")
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(-journal)?")
_UNFORESEEN = re.compile(r"Traceback \(most recent call last\)|run again with --debug to see|a defect of llmperf")
"""A traceback, or what stands in its place where an error reached the last net."""
MARK = "RELIABILITY_CAMPAIGN"


@dataclass
class Findings:
    """What is wrong with one case: kind → in words."""

    wrong: dict[Wrong, str] = field(default_factory=dict)

    def add(self, kind: Wrong, what: str) -> None:
        self.wrong.setdefault(kind, what)

    def unless(self, right: bool, kind: Wrong, what: str) -> None:
        if not right:
            self.add(kind, what)


def check_output(found: Findings, code: int, output: str, allowed: Collection[int]) -> None:
    """The exit code and what was printed."""
    if (match := _UNFORESEEN.search(output)) is not None:
        found.add("tracebacks", output[max(0, match.start() - 600) : match.start() + 1500])
    found.unless(
        code in allowed, "wrong exit codes", f"exit code {code}, not one of {sorted(allowed)}: {output[-600:]}"
    )
    said = code in (0, 4, 5) or code < 0 or "rror" in output or "interrupted" in output
    found.unless(said, "wrong exit codes", f"exit code {code} without a word: {output[-300:]!r}")


def files_of(folder: Path) -> Iterator[Path]:
    """Regular files below `folder` that are whole."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _TEMPORARY.fullmatch(name))
        for name in sorted(files):
            path = Path(place, name)
            if not _TEMPORARY.fullmatch(name) and path.is_file() and not path.is_symlink():
                yield path


def digests(folder: Path) -> dict[str, str]:
    """Name below `folder` → sha256."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files_of(folder)
    }


def check_run(found: Findings, run: Path, code: int, *, killed: bool = False) -> dict[str, Any] | None:
    """A run directory after its command ended: whether its manifest is true, and nothing that was completed is lost.

    Args:
        killed: the command had no chance to say how it went.
    """
    try:
        manifest: dict[str, Any] = json.loads((run / "run.json").read_bytes())
    except FileNotFoundError:
        left = [file.name for file in files_of(run) if file.name != "llmperf.log"]
        found.unless(killed or not left, "untruthful manifests", f"no run.json beside {left[:5]}")
        return None
    except ValueError as error:
        found.add("untruthful manifests", f"run.json is no JSON: {error}")
        return None
    there = digests(run)
    signed: dict[str, str] = manifest.get("artifacts", {})
    for name, sha in signed.items():
        if there.get(name) != sha and not (killed and name in there):
            found.add("lost", f"{name} is {'changed' if name in there else 'missing'}")
    if killed:
        return manifest
    log = run / "llmperf.log"
    if log.is_file() and "Traceback (most recent call last)" in (text := log.read_text(errors="replace")):
        found.add("tracebacks", f"in llmperf.log: {text[text.find('Traceback') :][:1500]}")
    _check_words(found, manifest, code)
    unsigned = sorted(set(there) - set(signed) - set(_UNSIGNED))
    found.unless(not unsigned, "untruthful manifests", f"without a digest: {unsigned[:5]}")
    return manifest


def _check_words(found: Findings, manifest: dict[str, Any], code: int) -> None:
    status, said = manifest.get("status"), manifest.get("exit_code")
    expected = {"completed": (0,), "interrupted": (130,), "failed": (1, 2, 3)}.get(str(status), ())
    found.unless(said in expected, "untruthful manifests", f"status {status} with exit code {said}")
    # Of a run that is whole, what is printed afterwards may still fail.
    found.unless(said == code, "untruthful manifests", f"exit code {code}, and {said} in run.json")
    for name, entry in manifest.get("stages", {}).items():
        ended = entry.get("ended") is not None
        if entry["status"] == "running" or (entry["status"] == "completed" and not ended):
            found.add("untruthful manifests", f"stage {name} is {entry['status']} in a run that ended")
        if status == "completed" and entry["status"] not in ("completed", "skipped"):
            found.add("untruthful manifests", f"stage {name} is {entry['status']} in a run that is completed")


def marked(mark: str) -> list[int]:
    """Processes whose environment or command line holds `mark` (Linux; elsewhere none is found)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            zombie = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
        except OSError:
            continue
        if mark.encode() in text and not zombie and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def end_all(pids: Collection[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
